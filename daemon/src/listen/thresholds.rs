//! The thresholds by which a barge-in is guessed.
//!
//! `examples/double_talk` varies each in simulated rooms while the others stay: `cargo run --release --example
//! double_talk sweep --interruptions 10`. Beside each value stands what happens to its left and right. The simulation
//! finds 6.7 false alarms an hour, and misses 1 % of the persons as loud as the echo, 9 % of those 6 dB quieter, and 20
//! % in a microphone with little gain.

/// Where double talk begins (`double_talk`), and which of it is worth a pause (`barge_in`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Level up to which a band counts as silent, in dBFS.
    pub inaudible: f32,
    /// Decay of an echo in a hop of 8 ms, in dB, when nothing more is played.
    pub decay: f32,
    /// Quantile of the residual echo that counts as the usual residual.
    pub usual: f32,
    /// Least usual residual, in dB relative to the echo.
    pub least_left: f32,
    /// Margin above the noise floor between words, in dB.
    pub noise: f32,
    /// Excess over the usual residual that means a person, in dB summed over all bands.
    pub excess: f32,
    /// Hops for which the excess must last.
    pub hops: usize,
    /// Minimum probability of speech that may interrupt, in the linear filter's output. That still holds a little of
    /// the assistant's own voice, and not every sound beside it is worth a pause.
    pub speech: f32,
    /// Minimum level of speech that may interrupt, in dBFS; pauses between words are quieter.
    pub quiet: f32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            // With -68 a few more persons are missed; with -56, 57 % in a microphone with little gain.
            inaudible: -62.0,
            // 60 dB in 0.64 s, as in a large living room. With 0.5, 12 % of quieter persons are missed, and there is
            // one false alarm; with 1.0 there are 16 an hour.
            decay: 0.75,
            // With 0.85, there are 9 false alarms an hour; with 0.95, 15 % of quieter persons are missed.
            usual: 0.9,
            // With -15 there are 14 false alarms an hour; with -5, 14 % of quieter persons are missed.
            least_left: -10.0,
            // With 5 there are 12 false alarms an hour; with 11, 13 % of quieter persons are missed.
            noise: 8.0,
            // With 17.5 there are 15 false alarms an hour; with 22.5, 13 % of quieter persons are missed.
            excess: 20.0,
            // With 1 there are 10 false alarms an hour; with 3, persons are noticed 10 ms later.
            hops: 2,
            // As the authors of earshot recommend (its README). With 0.3, 7 % are missed in a microphone with little
            // gain, and there are no more false alarms; but noise is the only other sound that is simulated. With 0.7,
            // 45 %.
            speech: 0.5,
            // From -60 to -45, nothing changes: the simulated persons are louder. With -40, 27 % are missed in a
            // microphone with little gain.
            quiet: -50.0,
        }
    }
}
