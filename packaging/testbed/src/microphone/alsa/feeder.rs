//! The thread that feeds the FIFO in real time.
//!
//! The `file` plugin has one trap: it reads a whole period, whose length the program chooses, with one
//! `read`, and takes a short read for a full one. The feeder must therefore write whole periods. It
//! measures the period at the start of each recording by writing single frames of silence: each makes
//! the plugin read once, and so grows the plugin's copy by one period.

use std::{
    fs::File,
    io::{Read, Write},
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::ioctl_fionread,
};
use tokio::sync::oneshot;

use super::super::encoding::{Encoding, Sample};
use crate::Echo;
use crate::loudspeaker::Air;
use crate::{Error, realtime, speech};

/// Length of a piece written into the FIFO, unless a period is longer.
const PIECE: Duration = Duration::from_millis(10);

/// Pause between two looks at the copy while the period is unknown.
const GLANCE: Duration = Duration::from_millis(1);

/// Time after which a program that leaves a frame unread counts as not reading, on a busy machine too.
const PATIENCE: Duration = Duration::from_millis(500);

/// The running thread. Dropping it ends the feeding.
#[derive(Debug)]
pub(super) struct Feeder {
    sounds: Option<mpsc::Sender<Sound>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Feeder {
    /// Feeds `fifo`; the plugin's copies appear in the folder `copies`.
    pub(super) fn start(
        fifo: Arc<File>,
        copies: PathBuf,
        echo: Option<(Air, Echo)>,
    ) -> Result<Self, Error> {
        let watch = || {
            let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            let events = WatchFlags::OPEN | WatchFlags::CLOSE_WRITE;
            inotify::add_watch(&watch, &copies, events)?;
            Ok(watch)
        };
        let watch =
            watch().map_err(|error: rustix::io::Errno| Error::file(&copies)(error.into()))?;
        let (sender, sounds) = mpsc::channel();
        let feeding = Loop {
            fifo,
            copies,
            watch,
            sounds,
            paths: echo.as_ref().map_or_else(Vec::new, |(_, it)| it.paths()),
            echo,
            sound: None,
            recording: None,
        };
        let thread = thread::Builder::new()
            .name("microphone".into())
            .spawn(move || {
                realtime::run_first();
                feeding.run();
            })
            .map_err(Error::file(Path::new("a thread")))?;
        Ok(Self {
            sounds: Some(sender),
            thread: Some(thread),
        })
    }

    pub(super) async fn play(&self, samples: &[f32]) -> Result<(), Error> {
        let (done, played) = oneshot::channel();
        let sound = Sound {
            samples: samples.to_vec(),
            encoded: Vec::new(),
            written: 0,
            done,
        };
        self.sounds
            .as_ref()
            .and_then(|sounds| sounds.send(sound).ok())
            .ok_or(Error::Unplugged)?;
        played.await.unwrap_or(Err(Error::Unplugged))
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.sounds = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed already, and leaves nothing to clean up.
            let _ = thread.join();
        }
    }
}

/// A sound to play.
struct Sound {
    /// Samples still to be played, at 16 kHz.
    samples: Vec<f32>,
    /// The samples in the encoding of the recording program; empty while none records.
    encoded: Vec<u8>,
    /// Number of bytes of `encoded` written so far.
    written: usize,
    done: oneshot::Sender<Result<(), Error>>,
}

impl Sound {
    /// Drops samples of at most `time`; returns whether any are left.
    fn skip(&mut self, time: Duration) -> bool {
        let samples = time.as_millis() as usize * speech::RATE as usize / 1000;
        self.samples.drain(..samples.min(self.samples.len()));
        !self.samples.is_empty()
    }

    /// Takes at most `length` bytes in `encoding`.
    fn take(&mut self, length: usize, encoding: Encoding) -> Result<&[u8], Error> {
        if self.encoded.is_empty() {
            self.encoded = encoding.encode(&self.samples)?;
        }
        let begin = self.written;
        self.written = self.encoded.len().min(begin + length);
        Ok(&self.encoded[begin..self.written])
    }

    fn is_written(&self) -> bool {
        self.written == self.encoded.len()
    }

    /// Drops the encoded bytes, and the samples of those that were written.
    fn interrupt(&mut self) {
        if !self.encoded.is_empty() {
            let heard = self.samples.len() * self.written / self.encoded.len();
            self.samples.drain(..heard);
            self.encoded.clear();
            self.written = 0;
        }
    }
}

/// A recording by a program.
struct Recording {
    encoding: Encoding,
    copy: PathBuf,
    /// Length of a piece in bytes, a whole number of periods; `None` until the period is known.
    piece: Option<usize>,
    /// Length of the copy at the last look.
    seen: u64,
    /// Time for which a frame has been unread.
    waited: Duration,
}

impl Recording {
    fn new(copy: PathBuf) -> Option<Self> {
        let name = copy.file_name()?.to_str()?;
        let mut parts = name.split(' ');
        let mut encoding =
            Encoding::of_16_bits(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        encoding.sample = Sample::named(parts.next()?)?;
        Some(Self {
            encoding,
            copy,
            piece: None,
            seen: 0,
            waited: Duration::ZERO,
        })
    }

    /// Reads the copy's length, and writes a frame of silence while it is 0. The length is taken as the
    /// period, or a few of them, once it stays the same and no frame is unread: a frame left over would
    /// shift all following periods. Returns `false` if the program does not read.
    fn measure(&mut self, mut fifo: &File) -> bool {
        let length = std::fs::metadata(&self.copy).map_or(0, |copy| copy.len());
        let stays = length > 0 && length == std::mem::replace(&mut self.seen, length);
        if ioctl_fionread(fifo).is_ok_and(|unread| unread > 0) {
            self.waited += GLANCE;
            return self.waited < PATIENCE;
        }
        self.waited = Duration::ZERO;
        if stays {
            self.piece = usize::try_from(length)
                .ok()
                .map(|period| period * (self.bytes(PIECE) / period).max(1));
        } else if length == 0 {
            // It cannot fail for lack of room, since the FIFO is empty.
            let _ = fifo.write(&vec![0; self.encoding.frame()]);
        }
        true
    }

    fn bytes(&self, time: Duration) -> usize {
        self.encoding.rate as usize * time.as_millis() as usize / 1000 * self.encoding.frame()
    }

    fn lasts(&self, bytes: usize) -> Duration {
        let frames = u32::try_from(bytes / self.encoding.frame()).unwrap_or(u32::MAX);
        Duration::from_secs(1) * frames / self.encoding.rate
    }
}

struct Loop {
    fifo: Arc<File>,
    copies: PathBuf,
    watch: OwnedFd,
    sounds: mpsc::Receiver<Sound>,
    /// The loudspeaker's sound in the air, and its echo here.
    echo: Option<(Air, Echo)>,
    /// The paths of the echo.
    paths: Vec<(Duration, f32)>,
    sound: Option<Sound>,
    recording: Option<Recording>,
}

impl Loop {
    fn run(mut self) {
        let mut next = Instant::now();
        loop {
            if self.sound.is_none() {
                match self.sounds.try_recv() {
                    Ok(sound) => self.sound = Some(sound),
                    Err(mpsc::TryRecvError::Empty) => {}
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
            self.notice();
            next += match &mut self.recording {
                None => self.lose(PIECE),
                Some(recording) => match recording.piece {
                    Some(piece) => self.feed(piece, next),
                    None => {
                        if recording.measure(&self.fifo) {
                            GLANCE
                        } else {
                            self.lose(GLANCE)
                        }
                    }
                },
            };
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    /// Notices programs that begin or end recording.
    fn notice(&mut self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.watch, &mut buffer);
        let mut seen = Vec::new();
        // `next` fails with `WOULDBLOCK` after the last event.
        while let Ok(event) = events.next() {
            if let Some(name) = event.file_name() {
                seen.push((event.events(), name.to_string_lossy().into_owned()));
            }
        }
        for (event, name) in seen {
            if event.contains(ReadFlags::CLOSE_WRITE) {
                self.end();
            } else {
                self.begin(&name);
            }
        }
    }

    fn begin(&mut self, name: &str) {
        self.recording = Recording::new(self.copies.join(name));
        if self.recording.is_none() {
            let error = format!("it is recorded as `{name}`, which is not supported");
            self.finish(Err(Error::Sound(error)));
        }
    }

    fn end(&mut self) {
        self.recording = None;
        if let Some(sound) = &mut self.sound {
            sound.interrupt();
        }
        // The next recording must begin with the sound played then, not with the rest in the FIFO.
        let mut rest = vec![0; 1 << 16];
        while (&*self.fifo).read(&mut rest).is_ok() {}
    }

    /// Loses `time` of the sound, because no program records or reads.
    fn lose(&mut self, time: Duration) -> Duration {
        if self.sound.as_mut().is_some_and(|sound| !sound.skip(time)) {
            self.finish(Ok(()));
        }
        time
    }

    /// Writes the next piece of sound or silence; returns its duration.
    fn feed(&mut self, length: usize, at: Instant) -> Duration {
        let Some(recording) = &self.recording else {
            return PIECE;
        };
        let sound = self.sound.as_mut();
        let taken = sound.map(|sound| sound.take(length, recording.encoding).map(<[u8]>::to_vec));
        let lasts = recording.lasts(length);
        match taken.transpose() {
            Ok(piece) => {
                let mut piece = piece.unwrap_or_default();
                piece.resize(length, 0);
                if let Some((air, echo)) = &self.echo {
                    let Encoding { rate, .. } = recording.encoding;
                    let frames = length / recording.encoding.frame();
                    for (later, gain) in &self.paths {
                        let echoed = air.before(at, echo.delay + *later, rate, frames);
                        let echoed = echo.played(echoed);
                        recording
                            .encoding
                            .mix(&mut piece, &echoed, echo.gain * gain);
                    }
                }
                // It fails if the FIFO is full: the program has stopped reading, and the piece is lost,
                // as with a sound card.
                let _ = (&*self.fifo).write(&piece);
                if self.sound.as_ref().is_some_and(Sound::is_written) {
                    self.finish(Ok(()));
                }
            }
            Err(error) => self.finish(Err(error)),
        }
        lasts
    }

    fn finish(&mut self, result: Result<(), Error>) {
        if let Some(sound) = self.sound.take() {
            // The receiver may have been dropped.
            let _ = sound.done.send(result);
        }
    }
}
