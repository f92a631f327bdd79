//! The thread that feeds the FIFO in real time.
//!
//! The `file` plugin has one trap: it reads a whole period (however long the program made it) with one
//! `read`, and takes a short one for a full one. So what is written must be whole periods. The feeder
//! finds out how long one is at the start of each recording, with single frames of silence: each makes
//! the plugin read once, and so grows its copy by one period.

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

use super::super::Echo;
use super::super::encoding::{Encoding, Sample};
use crate::loudspeaker::Air;
use crate::{Error, realtime, speech};

/// Length of the pieces the FIFO is fed with, unless a period is longer.
const PIECE: Duration = Duration::from_millis(10);

/// Pause between two looks at the copy while the period is unknown.
const GLANCE: Duration = Duration::from_millis(1);

/// How long a program on a busy machine may leave a frame unread before it counts as one that does not read.
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
            // A panic in it has been printed already, and leaves nothing to clean up.
            let _ = thread.join();
        }
    }
}

/// Something to play.
struct Sound {
    /// What is still to be heard, at 16 kHz.
    samples: Vec<f32>,
    /// The same for the program that records; empty while none does.
    encoded: Vec<u8>,
    /// Bytes of `encoded` that were written.
    written: usize,
    done: oneshot::Sender<Result<(), Error>>,
}

impl Sound {
    /// Takes what lasts `time`, at most; `false` when that was all.
    fn skip(&mut self, time: Duration) -> bool {
        let samples = time.as_millis() as usize * speech::RATE as usize / 1000;
        self.samples.drain(..samples.min(self.samples.len()));
        !self.samples.is_empty()
    }

    /// Takes up to `length` bytes in `encoding`.
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

    /// Forgets the encoding, and the samples that were written in it.
    fn interrupt(&mut self) {
        if !self.encoded.is_empty() {
            let heard = self.samples.len() * self.written / self.encoded.len();
            self.samples.drain(..heard);
            self.encoded.clear();
            self.written = 0;
        }
    }
}

/// A program records.
struct Recording {
    encoding: Encoding,
    copy: PathBuf,
    /// Bytes of a piece, whole periods.
    piece: Option<usize>,
    /// Length of the copy at the last look.
    seen: u64,
    /// How long a frame has been left unread.
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

    /// Looks whether the copy has grown, and else writes another frame of silence. A length counts
    /// once it stays and no frame is left over, which would shift all that follows: it is one period, or
    /// a few. `false` when the program does not read.
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
            // The FIFO is empty, so there is room.
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
    /// What else is in the air.
    echo: Option<(Air, Echo)>,
    /// The ways it takes.
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

    /// Looks whether a program began or ended recording.
    fn notice(&mut self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.watch, &mut buffer);
        let mut seen = Vec::new();
        // It ends with `WOULDBLOCK` when there are no more.
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
        // The next recording must begin with what is played then.
        let mut rest = vec![0; 1 << 16];
        while (&*self.fifo).read(&mut rest).is_ok() {}
    }

    /// Lets `time` pass in which nobody hears anything.
    fn lose(&mut self, time: Duration) -> Duration {
        if self.sound.as_mut().is_some_and(|sound| !sound.skip(time)) {
            self.finish(Ok(()));
        }
        time
    }

    /// Writes the next piece of sound or silence; returns how long it lasts.
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
                        recording
                            .encoding
                            .mix(&mut piece, &echoed, echo.gain * gain);
                    }
                }
                // It fails when the FIFO is full: the program has stopped reading, and what it
                // leaves unread is lost, as with a sound card.
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
            // The player may have stopped waiting.
            let _ = sound.done.send(result);
        }
    }
}
