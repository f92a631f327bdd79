//! A virtual loudspeaker that ALSA offers to every program, and the sound played by it.
//!
//! ALSA's `file` plugin over the `null` device writes what a program plays into a FIFO. The reader of the FIFO sets
//! the pace: this device reads it in real time, and records silence while no program plays.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, mknodat, open},
    pipe::fcntl_setpipe_size,
};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::{Error, realtime};

/// Sample rate of the device, in Hz.
pub const RATE: u32 = 48_000;

/// Length of a piece, played at a time.
const PIECE: Duration = Duration::from_millis(10);

/// Capacity of the FIFO, in bytes: the smallest that Linux allows. It holds 21 ms of stereo, about as much as a sound
/// card with two periods of 10 ms.
const CAPACITY: usize = 4096;

/// Amplitude above which a sample counts as sound; full scale is 1.
const LOUD: f32 = 0.01;

/// A loudspeaker. Dropping it removes the device; programs that play must have ended before.
#[derive(Debug)]
pub struct Loudspeaker {
    air: Air,
    /// Dropping it ends the thread.
    _alive: Arc<()>,
    folder: TempDir,
}

/// The sound of a loudspeaker so far.
#[derive(Debug, Clone)]
pub(crate) struct Air(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    opened: Instant,
    /// Mono samples at [`RATE`], without gaps since `opened`.
    samples: Mutex<Vec<f32>>,
    /// Number of samples so far.
    heard: watch::Sender<usize>,
}

impl Loudspeaker {
    /// ALSA's default output, without a sound server.
    ///
    /// # Errors
    /// When the temporary folder cannot be used.
    pub fn alsa() -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(Error::file(&std::env::temp_dir()))?;
        let path = fifo(folder.path());
        let make = || {
            mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
            // Open for writing too, so that neither end blocks until the other is opened.
            let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let fifo = open(&path, flags, Mode::empty())?;
            fcntl_setpipe_size(&fifo, CAPACITY)?;
            Ok(File::from(fifo))
        };
        let fifo = make().map_err(|error: rustix::io::Errno| Error::file(&path)(error.into()))?;
        let air = Air(Arc::new(Shared {
            opened: Instant::now(),
            samples: Mutex::default(),
            heard: watch::Sender::new(0),
        }));
        let alive = Arc::new(());
        let (sounding, awaited) = (air.clone(), Arc::downgrade(&alive));
        thread::Builder::new()
            .name("loudspeaker".into())
            .spawn(move || {
                realtime::run_first();
                let mut pieces = 0;
                while awaited.strong_count() > 0 {
                    pieces += 1;
                    let next = sounding.0.opened + PIECE * pieces;
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                    sounding.play(&fifo);
                }
            })
            .map_err(Error::file(Path::new("a thread")))?;
        let loudspeaker = Self {
            air,
            _alive: alive,
            folder,
        };
        let config = loudspeaker.folder.path().join("asound.conf");
        let text = format!(
            "pcm.null {{ type null }}\npcm.!default {{ type asym playback.pcm loudspeaker {HINT} }}\n{}",
            loudspeaker.configuration()
        );
        std::fs::write(&config, text).map_err(Error::file(&config))?;
        Ok(loudspeaker)
    }

    /// The variables that make a program use this loudspeaker, and no microphone.
    #[must_use]
    pub fn env(&self) -> Vec<(&'static str, std::ffi::OsString)> {
        vec![
            (
                "ALSA_CONFIG_PATH",
                self.folder.path().join("asound.conf").into(),
            ),
            crate::variables::no_server(),
        ]
    }

    /// Waits for sound from the sample `since` on; returns the first sample of it. Both count from the
    /// device's beginning.
    pub async fn sounds(&self, since: usize) -> usize {
        self.find(|samples| {
            let place = samples.get(since..)?.iter().position(|it| it.abs() > LOUD);
            place.map(|place| since + place)
        })
        .await
    }

    /// Waits for silence of `time` from the sample `since` on; returns the first sample of the silence. Both
    /// count from the device's beginning.
    pub async fn is_silent(&self, since: usize, time: Duration) -> usize {
        let wanted = RATE as usize * time.as_millis() as usize / 1000;
        self.find(|samples| {
            let last = samples.iter().rposition(|it| it.abs() > LOUD);
            let begin = last.map_or(since, |last| since.max(last + 1));
            (samples.len() >= begin + wanted).then_some(begin)
        })
        .await
    }

    /// Waits until this many samples have been played since its beginning.
    pub async fn reaches(&self, samples: usize) {
        self.find(|heard| (heard.len() >= samples).then_some(()))
            .await;
    }

    /// Number of samples played so far: the time on the device's own clock.
    #[must_use]
    pub fn now(&self) -> usize {
        *self.air.0.heard.borrow()
    }

    /// The sound from the sample `since` on: mono samples at 16 kHz.
    ///
    /// # Errors
    /// When they cannot be resampled.
    pub fn heard(&self, since: usize) -> Result<Vec<f32>, Error> {
        let samples = self.air.lock().get(since..).unwrap_or_default().to_vec();
        crate::speech::resample(&samples, RATE, crate::speech::RATE)
    }

    async fn find<T>(&self, mut look: impl FnMut(&[f32]) -> Option<T>) -> T {
        let mut heard = self.air.0.heard.subscribe();
        loop {
            if let Some(found) = look(&self.air.lock()) {
                return found;
            }
            // The sender lives as long as this loudspeaker.
            let _ = heard.changed().await;
        }
    }

    pub(crate) fn air(&self) -> Air {
        self.air.clone()
    }

    /// ALSA's configuration of the device `pcm.loudspeaker`; it needs `pcm.null`.
    pub(crate) fn configuration(&self) -> String {
        format!(
            r#"pcm.loudspeaker {{
    type plug
    slave {{
        pcm {{ type file slave.pcm null file "{}" format raw }}
        rate {RATE} channels 2 format S16_LE
    }}
}}
"#,
            fifo(self.folder.path()).display()
        )
    }
}

/// Description of the default device in the lists of programs.
const HINT: &str = r#"hint { show on description "Virtual loudspeaker" }"#;

fn fifo(folder: &Path) -> PathBuf {
    folder.join("played")
}

impl Air {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<f32>> {
        let samples = self.0.samples.lock();
        samples.unwrap_or_else(PoisonError::into_inner)
    }

    /// Plays the next piece: the bytes in the FIFO, filled up with silence.
    fn play(&self, mut fifo: &File) {
        let length = RATE as usize * PIECE.as_millis() as usize / 1000;
        let mut bytes = vec![0; 4 * length];
        // Reading fails if the FIFO is empty.
        let read = fifo.read(&mut bytes).unwrap_or(0);
        bytes[read..].fill(0);
        let heard = {
            let mut samples = self.lock();
            let (frames, _) = bytes.as_chunks::<4>();
            let left = frames.iter().map(|it| i16::from_le_bytes([it[0], it[1]]));
            samples.extend(left.map(|it| f32::from(it) / 32_768.0));
            samples.len()
        };
        self.0.heard.send_replace(heard);
    }

    /// The sound in the air `delay` before `at`, as `count` samples at `rate`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "places in a sound of minutes"
    )]
    pub(crate) fn before(&self, at: Instant, delay: Duration, rate: u32, count: usize) -> Vec<f32> {
        let since = at.saturating_duration_since(self.0.opened + delay);
        let begin = since.as_secs_f64() * f64::from(RATE);
        let step = f64::from(RATE) / f64::from(rate);
        let samples = self.lock();
        let at = |place: usize| samples.get(place).copied().unwrap_or(0.0);
        (0..count)
            .map(|index| {
                let place = begin + index as f64 * step;
                let share = place.fract() as f32;
                let place = place as usize;
                at(place) * (1.0 - share) + at(place + 1) * share
            })
            .collect()
    }
}
