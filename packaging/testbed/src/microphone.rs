//! A virtual microphone that the sound system offers to every program.
//!
//! There are two kinds, because a daemon meets both: ALSA alone, as on a small board, and a sound server,
//! as on a desktop. Both run in real time, can be unplugged while a program records, and need no sound card.

mod alsa;
mod encoding;
mod pulse;

use std::{ffi::OsString, path::Path, time::Duration};

pub use encoding::Encoding;

use crate::{Echo, Error, Loudspeaker, variables::no_server};

/// A microphone. It records silence except while sound is played into it. Dropping it removes the device;
/// programs that have it open must have ended before.
#[derive(Debug)]
pub struct Microphone(System);

#[derive(Debug)]
enum System {
    Alsa(alsa::Microphone),
    Pulse(pulse::Microphone),
}

impl Microphone {
    /// ALSA's default device, without a sound server. It accepts any rate, channels and sample type that
    /// the program asks for.
    ///
    /// # Errors
    /// When the temporary folder cannot be used.
    pub fn alsa() -> Result<Self, Error> {
        alsa::Microphone::new().map(|it| Self(System::Alsa(it)))
    }

    /// ALSA's default device as in [`Microphone::alsa`], with `loudspeaker` as ALSA's default output. The
    /// microphone hears the loudspeaker with `echo`, or not at all.
    ///
    /// # Errors
    /// When the temporary folder cannot be used.
    pub fn alsa_beside(loudspeaker: &Loudspeaker, echo: Option<Echo>) -> Result<Self, Error> {
        alsa::Microphone::beside(loudspeaker, echo).map(|it| Self(System::Alsa(it)))
    }

    /// A small room: a loudspeaker, and a microphone that hears it with this gain, a delay of 60 ms and a
    /// reverberation of 200 ms.
    ///
    /// # Errors
    /// When the temporary folder cannot be used.
    pub fn in_a_room(gain: f32) -> Result<(Loudspeaker, Self), Error> {
        let loudspeaker = Loudspeaker::alsa()?;
        let echo = Echo {
            delay: Duration::from_millis(60),
            gain,
            reverberation: Duration::from_millis(200),
            overdrive: 0.0,
        };
        let microphone = Self::alsa_beside(&loudspeaker, Some(echo))?;
        Ok((loudspeaker, microphone))
    }

    /// A microphone for another system, such as a container, which sees `folder` with the microphone's files
    /// as `inside`. The file `asound.conf` there is the configuration for its ALSA. Every user may record.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn alsa_in(folder: &Path, inside: &Path) -> Result<Self, Error> {
        alsa::Microphone::kept_in(folder, inside).map(|it| Self(System::Alsa(it)))
    }

    /// The default source of a private `PulseAudio` server, with its own samples in `encoding`.
    ///
    /// # Errors
    /// When `pulseaudio` is not installed or does not start.
    pub async fn pulse(encoding: Encoding) -> Result<Self, Error> {
        let microphone = pulse::Microphone::new(encoding).await?;
        Ok(Self(System::Pulse(microphone)))
    }

    /// The environment variables that make a program use this microphone, and no other, as its default.
    #[must_use]
    pub fn env(&self) -> Vec<(&'static str, OsString)> {
        match &self.0 {
            System::Alsa(it) => it.env(),
            System::Pulse(it) => it.env(),
        }
    }

    /// Plays mono samples at 16 kHz, from -1 to 1, into the microphone in real time, and returns when the
    /// last one has been handed over. As with a real microphone, sound that is played while no program
    /// records is lost.
    ///
    /// # Errors
    /// The microphone is unplugged, before or meanwhile, or a program records it in an unsupported
    /// encoding.
    pub async fn play(&self, samples: &[f32]) -> Result<(), Error> {
        match &self.0 {
            System::Alsa(it) => it.play(samples).await,
            System::Pulse(it) => it.play(samples).await,
        }
    }

    /// Unplugs the microphone, whether or not a program records it; it can no longer be opened. A program
    /// that records sees the same as with a real one: under ALSA no more samples and no error, under
    /// `PulseAudio` the end of the server.
    pub fn unplug(&mut self) {
        match &mut self.0 {
            System::Alsa(it) => it.unplug(),
            System::Pulse(it) => it.unplug(),
        }
    }

    /// Unplugs it, so that one with `encoding` is plugged in next. ALSA ignores `encoding`, since it accepts any.
    pub fn unplug_for(&mut self, encoding: Encoding) {
        match &mut self.0 {
            System::Alsa(it) => it.unplug(),
            System::Pulse(it) => it.unplug_for(encoding),
        }
    }

    /// Plugs the microphone in again, under the same name. Does nothing if it is plugged in.
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

/// The environment variables that leave a program without a microphone, on every machine.
#[must_use]
pub fn no_microphone() -> Vec<(&'static str, OsString)> {
    vec![("ALSA_CONFIG_PATH", "/dev/null".into()), no_server()]
}
