//! A virtual microphone that the sound system offers to every program.
//!
//! Two ways, because a daemon meets both: ALSA alone, as on a small board, and a sound server, as on a
//! desktop. Both run in real time, can be unplugged while somebody listens, and need no sound card.

mod alsa;
mod encoding;
mod pulse;

use std::{ffi::OsString, path::Path, time::Duration};

pub use encoding::Encoding;

use crate::{Error, Loudspeaker};

/// How a microphone hears the loudspeaker in its room.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Echo {
    /// How late. Not less than the 30 ms by which the loudspeaker's thread may be late itself.
    pub delay: Duration,
    /// What samples are multiplied with.
    pub gain: f32,
    /// How long it takes until what the walls give back is 60 dB quieter; zero in the open.
    pub reverberation: Duration,
}

impl Echo {
    /// What the walls give back, for each sound that comes straight: how much later, and how loud beside it. A third of
    /// the energy, as for a microphone in the loudspeaker's own case, in a pattern that is always the same.
    #[expect(clippy::cast_precision_loss, reason = "a few dozen, and milliseconds")]
    fn paths(self) -> Vec<(Duration, f32)> {
        let count = if self.reverberation.is_zero() { 0 } else { 64 };
        let mut random = 1_u32;
        let mut paths = Vec::new();
        for nth in 0..count {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let share = (nth as f32 + (random >> 8) as f32 / 16_777_216.0) / count as f32;
            let sign = if random & 128 == 0 { -1.0 } else { 1.0 };
            let later = self.reverberation.mul_f32(share);
            paths.push((later, sign * 10_f32.powf(-3.0 * share)));
        }
        let energy: f32 = paths.iter().map(|(_, gain)| gain * gain).sum();
        for (_, gain) in &mut paths {
            *gain *= (0.5 / energy.max(f32::MIN_POSITIVE)).sqrt();
        }
        paths.push((Duration::ZERO, 1.0));
        paths
    }
}

/// Variables for a program that is to use a microphone.
type Env = Vec<(&'static str, OsString)>;

/// A microphone. It hears silence except while something is played into it, and is gone when dropped.
/// A program that has it open must be gone before.
#[derive(Debug)]
pub struct Microphone(System);

#[derive(Debug)]
enum System {
    Alsa(alsa::Microphone),
    Pulse(pulse::Microphone),
}

impl Microphone {
    /// ALSA's default device, without any sound server. It takes whatever rate, channels and sample
    /// type the program asks for.
    ///
    /// # Errors
    /// When the temporary folder cannot be used.
    pub fn alsa() -> Result<Self, Error> {
        alsa::Microphone::new().map(|it| Self(System::Alsa(it)))
    }

    /// The same in a room with `loudspeaker`, which is ALSA's default output beside it. What that plays is
    /// heard here with `echo`, if there is one.
    ///
    /// # Errors
    /// When the temporary folder cannot be used.
    pub fn alsa_beside(loudspeaker: &Loudspeaker, echo: Option<Echo>) -> Result<Self, Error> {
        alsa::Microphone::beside(loudspeaker, echo).map(|it| Self(System::Alsa(it)))
    }

    /// A small room: a loudspeaker, and a microphone that hears it with this gain, 60 ms later and for 200 ms from the
    /// walls.
    ///
    /// # Errors
    /// When the temporary folder cannot be used.
    pub fn in_a_room(gain: f32) -> Result<(Loudspeaker, Self), Error> {
        let loudspeaker = Loudspeaker::alsa()?;
        let echo = Echo {
            delay: Duration::from_millis(60),
            gain,
            reverberation: Duration::from_millis(200),
        };
        let microphone = Self::alsa_beside(&loudspeaker, Some(echo))?;
        Ok((loudspeaker, microphone))
    }

    /// The same for the programs of another system, which sees `folder`, where the microphone is kept, as
    /// `inside`. Its file `asound.conf` is the configuration that ALSA there must have. Everybody may use
    /// it.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn alsa_in(folder: &Path, inside: &Path) -> Result<Self, Error> {
        alsa::Microphone::kept_in(folder, inside).map(|it| Self(System::Alsa(it)))
    }

    /// The default source of a private `PulseAudio` server, with samples in `encoding` of its own.
    ///
    /// # Errors
    /// When `pulseaudio` is not installed or does not start.
    pub async fn pulse(encoding: Encoding) -> Result<Self, Error> {
        let microphone = pulse::Microphone::new(encoding).await?;
        Ok(Self(System::Pulse(microphone)))
    }

    /// The variables that make a program use this microphone, and no other, as its default.
    #[must_use]
    pub fn env(&self) -> Vec<(&'static str, OsString)> {
        match &self.0 {
            System::Alsa(it) => it.env(),
            System::Pulse(it) => it.env(),
        }
    }

    /// Plays mono samples at 16 kHz in -1 to 1 into the microphone, in real time, and returns when
    /// the last one has been handed over. As with a real microphone, sound that is played while no
    /// program records is lost.
    ///
    /// # Errors
    /// When the microphone is unplugged, before or meanwhile, or is recorded in an encoding this
    /// cannot write.
    pub async fn play(&self, samples: &[f32]) -> Result<(), Error> {
        match &self.0 {
            System::Alsa(it) => it.play(samples).await,
            System::Pulse(it) => it.play(samples).await,
        }
    }

    /// Takes the microphone away, whether or not a program records it; it cannot be opened again. What
    /// a program sees is what real ones do: under ALSA nothing comes any more, without a word; under
    /// `PulseAudio` the server is gone.
    pub fn unplug(&mut self) {
        match &mut self.0 {
            System::Alsa(it) => it.unplug(),
            System::Pulse(it) => it.unplug(),
        }
    }

    /// The same, and another of that encoding will be put in its place. One of ALSA takes any encoding in any case.
    pub fn unplug_for(&mut self, encoding: Encoding) {
        match &mut self.0 {
            System::Alsa(it) => it.unplug(),
            System::Pulse(it) => it.unplug_for(encoding),
        }
    }

    /// Puts the microphone back, under the same name. Does nothing when it is there.
    ///
    /// # Errors
    /// As at its creation.
    pub async fn plug_in(&mut self) -> Result<(), Error> {
        match &mut self.0 {
            System::Alsa(it) => it.plug_in(),
            System::Pulse(it) => it.plug_in().await,
        }
    }
}

/// The variables that leave a program without any microphone, whatever the machine has.
#[must_use]
pub fn no_microphone() -> Vec<(&'static str, OsString)> {
    vec![("ALSA_CONFIG_PATH", "/dev/null".into()), no_server()]
}

/// Keeps a program away from the machine's own sound server.
pub(crate) fn no_server() -> (&'static str, OsString) {
    ("PULSE_SERVER", "unix:/nonexistent".into())
}
