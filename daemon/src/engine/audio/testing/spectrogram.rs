//! llama.cpp's spectrogram of a whole clip, operation by operation (mtmd-audio.cpp), for tests: with
//! the same spectrogram to the last bit, the encoders can be compared to the last bit.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::suboptimal_flops,
    reason = "roundings and their order are llama.cpp's"
)]

use std::f64::consts::PI;

const FFT: usize = 512;
const BINS: usize = FFT / 2 + 1;

/// The frames of a clip of more than 160 samples, 128 numbers each.
pub(in crate::engine::audio) fn whole(samples: &[f32]) -> Vec<f32> {
    let angle = |nth: usize| (2.0 * PI * nth as f64 / FFT as f64) as f32;
    let turns: Vec<_> = (0..FFT)
        .map(|nth| (angle(nth).cos(), angle(nth).sin()))
        .collect();
    let window: Vec<f32> = (0..320)
        .map(|nth| 0.5 - 0.5 * (2.0 * std::f32::consts::PI * nth as f32 / 320.0).cos())
        .collect();
    let bands = bands();
    let mut padded = vec![0.0; 160];
    padded.extend_from_slice(samples);
    let frames = (samples.len() - 1) / 160;
    let frame = |nth: usize| {
        let mut frame: Vec<_> = padded[nth * 160..nth * 160 + 320].to_vec();
        frame
            .iter_mut()
            .zip(&window)
            .for_each(|(sample, weight)| *sample *= weight);
        frame.resize(FFT, 0.0);
        let bins: Vec<f32> = transform(&frame, &turns)[..BINS]
            .iter()
            .map(|(re, im)| (re * re + im * im).sqrt())
            .collect();
        let sum = |band: &Vec<f32>| {
            let fours = bins.chunks(4).zip(band.chunks(4));
            fours.fold(0f64, |sum, (bins, weights)| {
                let products = bins.iter().zip(weights).map(|(bin, weight)| bin * weight);
                sum + f64::from(products.reduce(|a, b| a + b).unwrap_or(0.0))
            })
        };
        bands
            .iter()
            .map(|band| sum(band).max(f64::from(0.001f32)).ln() as f32)
            .collect::<Vec<_>>()
    };
    (0..frames).flat_map(frame).collect()
}

/// Cooley and Tukey's transform; `turns` has the cosine and sine of every multiple of a turn / [`FFT`].
fn transform(samples: &[f32], turns: &[(f32, f32)]) -> Vec<(f32, f32)> {
    let length = samples.len();
    if length == 1 {
        return vec![(samples[0], 0.0)];
    }
    let half = |start| {
        samples
            .iter()
            .copied()
            .skip(start)
            .step_by(2)
            .collect::<Vec<_>>()
    };
    let (even, odd) = (transform(&half(0), turns), transform(&half(1), turns));
    let mut spectrum = vec![(0.0, 0.0); length];
    for nth in 0..length / 2 {
        let (re, sine) = turns[nth * (FFT / length)];
        let im = -sine;
        let ((e_re, e_im), (o_re, o_im)) = (even[nth], odd[nth]);
        spectrum[nth] = (e_re + re * o_re - im * o_im, e_im + re * o_im + im * o_re);
        spectrum[nth + length / 2] = (e_re - re * o_re + im * o_im, e_im - re * o_im - im * o_re);
    }
    spectrum
}

fn bands() -> Vec<Vec<f32>> {
    let most = 2595.0 * (1.0 + 8000.0 / 700.0f64).log10();
    let edge = |nth: usize| {
        let mel = most * (nth as f64 / 129.0);
        700.0 * (10f64.powf(mel / 2595.0) - 1.0)
    };
    let weight = |band: usize, bin: usize| {
        let hertz = bin as f64 * 31.25;
        let (left, centre, right) = (edge(band), edge(band + 1), edge(band + 2));
        if hertz >= left && hertz <= centre {
            (hertz - left) / (centre - left)
        } else if hertz > centre && hertz <= right {
            (right - hertz) / (right - centre)
        } else {
            0.0
        }
    };
    let band = |band| (0..BINS).map(|bin| weight(band, bin) as f32).collect();
    (0..128).map(band).collect()
}
