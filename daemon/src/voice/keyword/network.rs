//! A network of ONNX format with one input and one output of fixed shapes.

use tract_onnx::prelude::*;

/// The network, ready to run on the calling thread.
pub(super) struct Network {
    run: Arc<TypedRunnableModel>,
    shape: Vec<usize>,
}

impl Network {
    /// Reads one whose input has this shape, and whose output so many numbers.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn read(onnx: &[u8], shape: &[usize], outputs: usize) -> Result<Self, String> {
        let model = || -> TractResult<_> {
            tract_onnx::onnx()
                .model_for_read(&mut &*onnx)?
                .with_input_fact(0, f32::fact(shape).into())?
                .into_optimized()?
                .into_runnable()
        };
        let network = Self {
            run: model().map_err(|error| format!("{error:#}"))?,
            shape: shape.into(),
        };
        let input = vec![0.0; shape.iter().product()];
        match network.run(&input)?.len() {
            count if count == outputs => Ok(network),
            count => Err(format!(
                "it gives {count} numbers where {outputs} are expected"
            )),
        }
    }

    /// Its output for this input, whose shape it was read with.
    ///
    /// # Errors
    /// When an operation fails. What it was read with is tried then, so none does later.
    pub(super) fn run(&self, input: &[f32]) -> Result<Vec<f32>, String> {
        let run = || -> TractResult<_> {
            let input = Tensor::from_shape(&self.shape, input)?;
            let output = self.run.run(tvec!(input.into()))?;
            let output = output[0].cast_to::<f32>()?;
            Ok(output.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
        };
        run().map_err(|error: TractError| format!("{error:#}"))
    }
}
