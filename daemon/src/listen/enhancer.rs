//! Noise suppression and gain control before the model hears: WebRTC's, as the crate `sonora` has them.
//!
//! Both are off by default. A model trained on noisy speech understands it better than what a suppressor leaves. But a
//! fan beside the microphone, or a microphone that is too quiet, may be worse.

use std::collections::VecDeque;

use sonora::config::{AdaptiveDigital, GainController2, NoiseSuppression, NoiseSuppressionLevel};
use sonora::{AudioProcessing, StreamConfig};

use crate::config::{self, Suppression};
use crate::sound::resample::RATE;

/// Samples that are enhanced together (10 ms).
const FRAME: usize = RATE as usize / 100;

/// Enhances sound, with a delay of 10 ms.
pub struct Enhancer {
    processing: AudioProcessing,
    /// Samples that fill no frame yet.
    frame: Vec<f32>,
    /// Enhanced samples not taken yet.
    enhanced: VecDeque<f32>,
}

impl Enhancer {
    /// An enhancer at the start of a stream; `None` if both are off.
    pub fn new(config: &config::Voice) -> Option<Self> {
        let noise_suppression = level(config.noise_suppression);
        let gain_controller2 = config.gain_control.then(|| GainController2 {
            adaptive_digital: Some(AdaptiveDigital::default()),
            ..GainController2::default()
        });
        if noise_suppression.is_none() && gain_controller2.is_none() {
            return None;
        }
        let stream = StreamConfig::new(RATE, 1);
        let processing = AudioProcessing::builder()
            .config(sonora::Config {
                noise_suppression: noise_suppression.map(|level| NoiseSuppression {
                    level,
                    ..NoiseSuppression::default()
                }),
                gain_controller2,
                ..sonora::Config::default()
            })
            .capture_config(stream)
            .render_config(stream)
            .build();
        Some(Self {
            processing,
            frame: Vec::with_capacity(FRAME),
            enhanced: VecDeque::from([0.0; FRAME - 1]),
        })
    }

    /// Enhances the next samples, in place.
    pub fn enhance(&mut self, sound: &mut [f32]) {
        for sample in sound {
            self.frame.push(*sample);
            if self.frame.len() == FRAME {
                self.enhance_frame();
            }
            *sample = self.enhanced.pop_front().unwrap_or(0.0);
        }
    }

    fn enhance_frame(&mut self) {
        let mut output = [0.0; FRAME];
        let done = self
            .processing
            .process_capture_f32(&[&self.frame], &mut [&mut output]);
        match done {
            Ok(()) => self.enhanced.extend(output),
            Err(_) => self.enhanced.extend(&self.frame),
        }
        self.frame.clear();
    }
}

fn level(suppression: Suppression) -> Option<NoiseSuppressionLevel> {
    match suppression {
        Suppression::Off => None,
        Suppression::Low => Some(NoiseSuppressionLevel::Low),
        Suppression::Moderate => Some(NoiseSuppressionLevel::Moderate),
        Suppression::High => Some(NoiseSuppressionLevel::High),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::resample::samples;
    use crate::sound::testing::{noise, spoken};

    /// The mean level of a sound in dB.
    #[expect(clippy::cast_precision_loss, reason = "some seconds")]
    fn loudness(sound: &[f32]) -> f32 {
        let power = sound.iter().map(|it| it * it).sum::<f32>() / sound.len() as f32;
        10.0 * power.log10()
    }

    fn enhanced(config: &config::Voice, sound: &[f32]) -> Vec<f32> {
        let mut enhancer = Enhancer::new(config).unwrap();
        let mut sound = sound.to_vec();
        for piece in sound.chunks_mut(777) {
            enhancer.enhance(piece);
        }
        sound
    }

    #[test]
    fn nothing_is_done_unless_somebody_wants_it() {
        assert!(Enhancer::new(&config::Voice::default()).is_none());
    }

    #[test]
    fn suppression_leaves_a_voice_and_takes_noise() {
        let config = config::Voice {
            noise_suppression: Suppression::High,
            ..config::Voice::default()
        };
        let words = spoken("turn on the kitchen light");
        let hiss = noise(0.01, 3000);
        let later = hiss.len() - samples(1000)..hiss.len();
        let mut sound = hiss.clone();
        sound.extend(words.iter().zip(hiss.iter().cycle()).map(|(a, b)| a + b));
        let heard = enhanced(&config, &sound);
        assert_eq!(heard.len(), sound.len());
        let quieter = loudness(&hiss[later.clone()]) - loudness(&heard[later]);
        assert!(quieter > 8.0, "noise is {quieter} dB quieter");
        let voice = loudness(&heard[hiss.len()..]) - loudness(&sound[hiss.len()..]);
        assert!(voice.abs() < 2.0, "the voice changed by {voice} dB");
    }

    #[test]
    fn gain_control_makes_a_quiet_voice_louder() {
        let config = config::Voice {
            gain_control: true,
            ..config::Voice::default()
        };
        let words = spoken("turn on the kitchen light and close the door").repeat(3);
        let quiet: Vec<f32> = words.iter().map(|it| it * 0.03).collect();
        let louder = loudness(&enhanced(&config, &quiet)) - loudness(&quiet);
        assert!(louder > 6.0, "{louder} dB louder");
    }
}
