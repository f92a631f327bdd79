//! Silero's detector of speech. It tells voices from music and machines, which the detector that runs all the time does not
//! (`models/speech`).

use std::sync::LazyLock;

use tract_onnx::prelude::*;

/// Samples at 16 kHz that are judged together: 32 ms.
pub const STEP: usize = 512;

/// Samples before those that it sees too.
const CONTEXT: usize = 64;

/// Shape of its state.
const STATE: [usize; 3] = [2, 1, 128];

const ONNX: &[u8] = include_bytes!("../../../models/speech/speech.onnx");

/// The network, made ready once; `None` if this machine cannot compute it.
static NETWORK: LazyLock<Option<Arc<TypedRunnableModel>>> = LazyLock::new(|| {
    let model = tract_onnx::onnx().model_for_read(&mut &*ONNX);
    let ready = model.and_then(|model| model.into_optimized()?.into_runnable());
    let ready = ready.inspect_err(|error| {
        log::warn!(
            "music may be taken for speech: the detector of voices does not work here: {error:#}"
        );
    });
    ready.ok()
});

/// The detector and its memory of the sound so far.
pub struct Silero {
    network: Arc<TypedRunnableModel>,
    state: Tensor,
    /// The context and less than a step of samples.
    window: Vec<f32>,
}

impl Silero {
    /// A detector that has heard nothing; `None` if this machine cannot compute it.
    pub fn new() -> Option<Self> {
        Some(Self {
            network: NETWORK.clone()?,
            state: Tensor::zero::<f32>(&STATE).ok()?,
            window: vec![0.0; CONTEXT],
        })
    }

    /// Forgets all sound.
    pub fn reset(&mut self) {
        self.window.clear();
        self.window.resize(CONTEXT, 0.0);
        if let Ok(state) = Tensor::zero::<f32>(&STATE) {
            self.state = state;
        }
    }

    /// Hears the next samples, in -1..1, and calls `each` with the probability of speech in every step they complete.
    pub fn hear(&mut self, samples: &[f32], mut each: impl FnMut(f32)) {
        for sample in samples {
            self.window.push(*sample);
            if let Some(step) = self.window[CONTEXT..].first_chunk::<STEP>().copied() {
                // Its shapes are fixed, so nothing fails. If anything did, all sound would be speech.
                each(self.compute(&step).unwrap_or(1.0));
            }
        }
    }

    fn compute(&mut self, step: &[f32; STEP]) -> TractResult<f32> {
        let sound = [&self.window[..CONTEXT], step].concat();
        self.window.clear();
        self.window.extend_from_slice(&step[STEP - CONTEXT..]);
        let sound = Tensor::from_shape(&[1, CONTEXT + STEP], &sound)?;
        let output = self
            .network
            .run(tvec!(sound.into(), self.state.clone().into()))?;
        self.state = output[1].clone().into_tensor();
        let probability = output[0].try_as_plain_ram()?.as_slice::<f32>()?;
        Ok(probability[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::testing::{noise, silence, sine, spoken};

    fn probabilities(sound: &[f32]) -> Vec<f32> {
        let mut all = Vec::new();
        Silero::new().unwrap().hear(sound, |it| all.push(it));
        all
    }

    #[test]
    fn a_voice_is_speech_and_tones_and_noise_are_not() {
        let most = |sound: &[f32]| probabilities(sound).into_iter().fold(0.0, f32::max);
        let voice = [silence(300), spoken("turn on the kitchen light")].concat();
        assert!(most(&voice) > 0.9);
        let chord: Vec<f32> = [261.6, 329.6, 392.0]
            .map(|hertz| sine(hertz, 16_000, 1, 3000))
            .into_iter()
            .reduce(|sum, tone| sum.iter().zip(tone).map(|(a, b)| a + b * 0.3).collect())
            .unwrap();
        for sound in [silence(1000), noise(0.1, 3000), chord] {
            assert!(most(&sound) < 0.5);
        }
    }

    #[test]
    fn pieces_of_any_length_give_the_same() {
        let voice = spoken("what time is it");
        let mut silero = Silero::new().unwrap();
        let mut pieces = Vec::new();
        for piece in voice.chunks(77) {
            silero.hear(piece, |it| pieces.push(it));
        }
        assert_eq!(pieces, probabilities(&voice));
        silero.reset();
        let mut again = Vec::new();
        silero.hear(&voice, |it| again.push(it));
        assert_eq!(again, pieces);
    }
}
