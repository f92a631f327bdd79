//! Sound in a cuboid room: the image-source method of Allen and Berkley, “Image method for efficiently simulating
//! small-room acoustics”, J. Acoust. Soc. Am. 65 (4), 1979.

use std::f32::consts::TAU;

use realfft::RealFftPlanner;

use crate::RATE;

/// Speed of sound in air of 20 °C, in m/s.
const SPEED: f32 = 343.0;

/// Cut-off of the high-pass filter that removes what the method adds at the lowest frequencies, in Hz (appendix A).
const LOWEST: f32 = 100.0;

/// A point in a room, in m from one of its corners.
pub type Point = [f32; 3];

/// An empty room whose surfaces all absorb the same share.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Length, width and height, in m.
    pub size: Point,
    /// Time in which its reverberation falls by 60 dB, in s.
    pub reverberation: f32,
}

/// The images of a source along one axis: distance from the listener in m, and number of reflections.
type Images = Vec<(f32, i32)>;

impl Room {
    /// The impulse response from one point to another.
    pub fn response(&self, from: Point, to: Point) -> Vec<f32> {
        let length = samples(self.reverberation);
        let reflection = self.reflection();
        let [x, y, z]: [Images; 3] =
            std::array::from_fn(|axis| self.images(axis, from[axis], to[axis]));
        let mut response = vec![0.0; length];
        for (dx, nx) in &x {
            for (dy, ny) in &y {
                for (dz, nz) in &z {
                    let distance = (dx * dx + dy * dy + dz * dz).sqrt();
                    if let Some(sample) = response.get_mut(samples(distance / SPEED)) {
                        *sample += reflection.powi(nx + ny + nz) / (2.0 * TAU * distance);
                    }
                }
            }
        }
        high_pass(&mut response);
        response
    }

    /// The images within the length of the reverberation.
    fn images(&self, axis: usize, from: f32, to: f32) -> Images {
        let size = self.size[axis];
        let farthest = SPEED * self.reverberation;
        let count = whole(farthest / (2.0 * size)) + 1;
        let images = (-count..=count).flat_map(|nth| {
            let moved = 2.0 * size * real(nth);
            let direct = (moved + from - to, 2 * nth.abs());
            let mirrored = (moved - from - to, nth.abs() + (nth - 1).abs());
            [direct, mirrored]
        });
        images.filter(|(at, _)| at.abs() < farthest).collect()
    }

    /// Share of the amplitude that a surface reflects, by Eyring's formula (“Reverberation time in ‘dead’ rooms”,
    /// J. Acoust. Soc. Am. 1 (2), 1930).
    fn reflection(&self) -> f32 {
        let [length, width, height] = self.size;
        let volume = length * width * height;
        let surface = 2.0 * (length * width + length * height + width * height);
        let exponent = -24.0 * 10_f32.ln() * volume / (SPEED * surface * self.reverberation);
        exponent.exp().sqrt()
    }
}

/// The filter of appendix A.
fn high_pass(response: &mut [f32]) {
    let step = TAU * LOWEST / f32::from(RATE);
    let radius = (-step).exp();
    let [b1, b2, a1] = [2.0 * radius * step.cos(), -radius * radius, -(1.0 + radius)];
    let (mut last, mut before) = (0.0, 0.0);
    for sample in response {
        let now = b1 * last + b2 * before + *sample;
        *sample = now + a1 * last + radius * before;
        (before, last) = (last, now);
    }
}

/// A sound after a path with this impulse response; as long as the sound.
#[expect(clippy::cast_precision_loss, reason = "a scale")]
pub fn convolve(sound: &[f32], response: &[f32]) -> Vec<f32> {
    let length = (sound.len() + response.len()).next_power_of_two();
    let mut planner = RealFftPlanner::new();
    let (forward, backward) = (
        planner.plan_fft_forward(length),
        planner.plan_fft_inverse(length),
    );
    let spectrum = |signal: &[f32]| {
        let mut padded = forward.make_input_vec();
        padded[..signal.len()].copy_from_slice(signal);
        let mut bins = forward.make_output_vec();
        let done = forward.process(&mut padded, &mut bins);
        debug_assert!(done.is_ok(), "the buffers have the lengths it asked for");
        bins
    };
    let mut product = spectrum(sound);
    for (bin, factor) in product.iter_mut().zip(spectrum(response)) {
        *bin *= factor;
    }
    let mut output = backward.make_output_vec();
    let done = backward.process(&mut product, &mut output);
    debug_assert!(done.is_ok(), "the spectrum of a real signal");
    output.truncate(sound.len());
    for sample in &mut output {
        *sample /= length as f32;
    }
    output
}

/// Samples in this many seconds, to the nearest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times from 0 s to a few minutes"
)]
pub fn samples(seconds: f32) -> usize {
    (seconds * f32::from(RATE)).round() as usize
}

#[expect(clippy::cast_possible_truncation, reason = "a few dozen")]
fn whole(number: f32) -> i32 {
    number as i32
}

#[expect(clippy::cast_precision_loss, reason = "a few dozen")]
fn real(number: i32) -> f32 {
    number as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room {
        size: [5.2, 4.1, 2.5],
        reverberation: 0.4,
    };

    /// Energy from each sample to the end (Schroeder 1965), in dB of all.
    fn decay(response: &[f32]) -> Vec<f32> {
        let mut rest = 0.0;
        let energies = response.iter().rev().map(|sample| {
            rest += sample * sample;
            rest
        });
        let mut energies: Vec<f32> = energies.collect();
        energies.reverse();
        let all = energies[0];
        let decibels = energies.iter().map(|energy| 10.0 * (energy / all).log10());
        decibels.collect()
    }

    #[test]
    fn the_reverberation_of_a_room_falls_by_60_db_in_about_the_given_time() {
        let decay = decay(&ROOM.response([1.0, 1.2, 0.9], [3.1, 2.6, 1.4]));
        let reaches = |level: f32| decay.iter().position(|it| *it < level).unwrap();
        let range = samples(ROOM.reverberation) / 3;
        let took = reaches(-25.0) - reaches(-5.0);
        assert!(
            took.abs_diff(range) < range / 4,
            "{took} instead of {range}"
        );
    }

    #[test]
    fn sound_arrives_after_its_way_through_the_room() {
        let response = ROOM.response([1.0, 2.0, 1.0], [3.0, 2.0, 1.0]);
        let first = response.iter().position(|sample| sample.abs() > 1e-6);
        assert_eq!(first, Some(samples(2.0 / SPEED)));
        let mut click = vec![0.0; 1000];
        click[10] = 1.0;
        let heard = convolve(&click, &response);
        let worst = heard[10..].iter().zip(&response);
        let worst = worst.map(|(heard, response)| (heard - response).abs());
        assert!(worst.fold(0.0, f32::max) < 1e-5);
    }
}
