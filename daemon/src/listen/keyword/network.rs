//! A network in ONNX format with one input and one output of fixed shapes.

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

/// A network as it is in its file, which states its inputs and outputs.
pub(super) struct Draft(InferenceModel);

impl Draft {
    /// Reads a network.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn read(onnx: &[u8]) -> Result<Self, String> {
        let model = tract_onnx::onnx().model_for_read(&mut &*onnx);
        model.map(Self).map_err(|error| {
            log::debug!("no network: {error:#}");
            "it is no model in ONNX format, or it is damaged".into()
        })
    }

    /// The dimensions of its input, `None` for each that is left open; `None` if there is not exactly one input, or its
    /// rank is open.
    pub(super) fn input(&self) -> Option<Vec<Option<usize>>> {
        let [_] = self.0.inputs.as_slice() else {
            return None;
        };
        let shape = &self.0.input_fact(0).ok()?.shape;
        let rank = shape.rank().concretize()?;
        let dimension = |place| {
            let dimension = shape.dim(usize::try_from(place).ok()?)?;
            dimension.concretize()?.to_usize().ok()
        };
        Some((0..rank).map(dimension).collect())
    }

    /// Number of its outputs.
    pub(super) fn outputs(&self) -> usize {
        self.0.outputs.len()
    }

    /// Makes it ready for inputs of this shape, and runs it once as a test.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn ready(self, shape: &[usize]) -> Result<Network, String> {
        let model = || -> TractResult<_> {
            self.0
                .with_input_fact(0, f32::fact(shape).into())?
                .into_optimized()?
                .into_runnable()
        };
        let run = model().map_err(|error| {
            log::debug!("network not ready: {error:#}");
            "it has operations that cannot be computed here".to_owned()
        })?;
        let mut network = Network {
            run,
            shape: shape.into(),
            outputs: 0,
        };
        let input = vec![0.0; shape.iter().product()];
        network.outputs = network.run(&input)?.len();
        Ok(network)
    }
}

/// The network, ready to run on the calling thread.
pub(super) struct Network {
    run: Arc<TypedRunnableModel>,
    shape: Vec<usize>,
    /// Numbers in its output.
    pub outputs: usize,
}

impl Network {
    /// Its output for this input, which has the shape it was made ready for.
    ///
    /// # Errors
    /// When an operation fails. [`Draft::ready`] tries them all, so none does later.
    pub(super) fn run(&self, input: &[f32]) -> Result<Vec<f32>, String> {
        let run = || -> TractResult<_> {
            let input = Tensor::from_shape(&self.shape, input)?;
            let output = self.run.run(tvec!(input.into()))?;
            let output = output[0].cast_to::<f32>()?;
            Ok(output.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
        };
        run().map_err(|error: TractError| {
            log::debug!("network not run: {error:#}");
            "it has operations that cannot be computed here".into()
        })
    }
}
