//! Speaking: text that may still be growing becomes sound at the loudspeaker, its first clause first.
//!
//! ```text
//! pieces of text ─► sentences ─► speakable ─► synthesiser ─► resample ─► ring ─ cpal ─► loudspeaker
//!                   └────────────── a task ─────────────┘   └─────── mouth ────────┘
//! ```
//!
//! A sentence is synthesised while the one before is played and the one after is still written. The
//! loudspeaker is opened when there is something to say, and kept for a while.

mod earcon;
mod mouth;
mod pcm;
mod playback;
mod sentences;
mod speakable;
mod synthesiser;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::config;
use crate::platform::environment::Environment;
pub use earcon::Earcon;
use mouth::{Kind, Mouth};
pub use playback::FarEnd;
use sentences::Sentences;
use speakable::speakable;
use synthesiser::Synthesiser;

/// Why something was not said to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpeechError {
    /// It was stopped.
    #[error("it was stopped")]
    Stopped,
    /// Nothing is configured that speaks.
    #[error("no program speaks; set `command` in [speech]")]
    NoProgram,
    /// The program is not there, or may not be run.
    #[error("cannot run {program} ({why}); install it, or set `command` in [speech] to another")]
    NotStarted {
        /// The program.
        program: String,
        /// Why.
        why: String,
    },
    /// The program failed, or made no sound.
    #[error("{program} made no sound of a sentence ({status}); it said: {said}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// What it wrote on standard error.
        said: String,
    },
    /// The program neither writes nor ends.
    #[error(
        "{program} wrote nothing for {seconds} s and was killed; see whether it works in a terminal"
    )]
    Hangs {
        /// The program.
        program: String,
        /// For how long.
        seconds: u64,
    },
    /// What the program writes cannot be played.
    #[error(
        "what {program} writes cannot be played: {why}; it must write a WAV file, or 16-bit mono samples whose \
         `rate` is set in [speech]"
    )]
    Unplayable {
        /// The program.
        program: String,
        /// Why.
        why: &'static str,
    },
    /// There is nothing to play it with.
    #[error("{0}")]
    NoLoudspeaker(String),
}

/// What there is to report of speaking.
#[derive(Debug)]
pub enum Said {
    /// A speech begins, or the last has ended, at the loudspeaker.
    Speaking(bool),
    /// This loudspeaker is open; or, with `None`, it is no longer.
    Device(Option<String>),
    /// What the loudspeaker plays that was just opened.
    FarEnd(FarEnd),
    /// Why there is no loudspeaker although there should be one; empty when solved.
    NoLoudspeaker(String),
    /// Why text does not become sound; empty when solved.
    NoSound(String),
}

/// How one speech is to sound, where it differs from the configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manner {
    /// A voice of the synthesiser.
    pub voice: Option<String>,
    /// Above 0, to 1.
    pub volume: Option<config::Fraction>,
}

/// The door to speaking. Clones lead to the same mouth.
#[derive(Debug, Clone)]
pub struct Speech {
    mouth: Arc<Mouth>,
    said: UnboundedSender<Said>,
    count: Arc<AtomicU64>,
    /// Variables of the synthesiser.
    environment: Environment,
}

impl Speech {
    /// Starts the mouth's thread. Synthesisers get the variables of `environment`.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(
        config: &config::Speech,
        environment: Environment,
    ) -> io::Result<(Self, UnboundedReceiver<Said>)> {
        let (said, reports) = unbounded_channel();
        let speech = Self {
            mouth: Arc::new(Mouth::spawn(config, said.clone())?),
            said,
            count: Arc::default(),
            environment,
        };
        Ok((speech, reports))
    }

    /// Speaks as this configuration says from now on; what is being said is said to its end.
    pub fn configure(&self, config: &config::Speech) {
        self.mouth.configure(config);
    }

    /// Opens the loudspeaker, because something will be said soon.
    pub fn prepare(&self) {
        self.mouth.prepare();
    }

    /// Falls silent.
    pub fn stop(&self) {
        self.mouth.stop(None);
    }

    /// Plays a short sound, after what is being said, if the configuration wants any.
    pub fn signal(&self, config: &config::Speech, earcon: Earcon) {
        if config.earcons {
            let id = self.count.fetch_add(1, Relaxed) + 1;
            let (sounds, _) = self.mouth.say(id, Kind::Earcon, config.volume.get());
            tokio::spawn(async move { sounds.send(earcon.sound()).await });
        }
    }

    /// Begins to say something, after what was begun before.
    #[must_use = "dropping it stops it"]
    pub fn begin(&self, config: &config::Speech, manner: &Manner) -> Speaking {
        let id = self.count.fetch_add(1, Relaxed) + 1;
        let (pieces, text) = unbounded_channel();
        let voice = manner.voice.as_ref().unwrap_or(&config.voice);
        let utterance = Utterance {
            synthesiser: Synthesiser::new(config, voice, &self.environment),
            language: config.language.clone(),
            volume: manner.volume.unwrap_or(config.volume).get(),
            id,
            mouth: Arc::clone(&self.mouth),
            said: self.said.clone(),
        };
        Speaking {
            pieces: Some(pieces),
            task: tokio::spawn(utterance.speak(text)),
            id,
            mouth: Arc::clone(&self.mouth),
        }
    }
}

/// Something that is being said. Dropping it stops it.
pub struct Speaking {
    /// `None` after the last.
    pieces: Option<UnboundedSender<String>>,
    task: JoinHandle<Result<(), SpeechError>>,
    id: u64,
    mouth: Arc<Mouth>,
}

impl Speaking {
    /// Goes on with this.
    pub fn push(&self, piece: &str) {
        if let Some(pieces) = &self.pieces {
            // If it failed meanwhile, its end says so.
            let _ = pieces.send(piece.into());
        }
    }

    /// Waits until it was said.
    ///
    /// # Errors
    /// Why it was not.
    pub async fn finish(mut self) -> Result<(), SpeechError> {
        self.pieces = None;
        // It is aborted only when this is dropped, and a panic was reported.
        (&mut self.task).await.unwrap_or(Err(SpeechError::Stopped))
    }
}

impl Drop for Speaking {
    fn drop(&mut self) {
        if !self.task.is_finished() {
            self.task.abort();
            self.mouth.stop(Some(self.id));
        }
    }
}

/// The task that speaks one text.
struct Utterance {
    synthesiser: Result<Synthesiser, SpeechError>,
    language: String,
    volume: f32,
    id: u64,
    mouth: Arc<Mouth>,
    said: UnboundedSender<Said>,
}

impl Utterance {
    async fn speak(self, mut text: UnboundedReceiver<String>) -> Result<(), SpeechError> {
        let mut sentences = Sentences::default();
        let mut begun = None;
        let mut more = true;
        while more {
            let piece = text.recv().await;
            more = piece.is_some();
            let complete = match &piece {
                Some(piece) => sentences.push(piece),
                None => std::mem::take(&mut sentences).finish(),
            };
            for sentence in complete {
                let sentence = speakable(&sentence, &self.language);
                if sentence.is_empty() {
                    continue;
                }
                let (sounds, _) =
                    begun.get_or_insert_with(|| self.mouth.say(self.id, Kind::Voice, self.volume));
                let spoken = match &self.synthesiser {
                    Ok(synthesiser) => synthesiser.speak(&sentence, sounds).await,
                    Err(error) => Err(error.clone()),
                };
                self.report(&spoken);
                match spoken {
                    // The mouth knows why nobody takes the sound any more.
                    Err(SpeechError::Stopped) => more = false,
                    spoken => spoken?,
                }
                if !more {
                    break;
                }
            }
        }
        let Some((sounds, done)) = begun else {
            return Ok(());
        };
        drop(sounds);
        done.await.unwrap_or(Err(SpeechError::Stopped))
    }

    /// Tells whether the synthesiser works.
    fn report(&self, spoken: &Result<(), SpeechError>) {
        let problem = match spoken {
            Ok(()) => String::new(),
            Err(SpeechError::Stopped) => return,
            Err(error) => error.to_string(),
        };
        // Nobody follows any more when the daemon ends.
        let _ = self.said.send(Said::NoSound(problem));
    }
}
