//! Speaking: text that may still be growing becomes sound at the loudspeaker, its first clause first.
//!
//! ```text
//! pieces of text ─► sentences ─► speakable ─► synthesiser ─► queue ─► resample ─► ring ─ cpal ─► loudspeaker
//!                   └───── reading: a task per text ─────┘   └─────── mouth: a thread ───────┘
//! ```
//!
//! A sentence is synthesised while the one before is played and the one after is still written. The
//! loudspeaker is opened when there is something to say, and kept for a while.

mod arithmetic;
mod boundary;
mod earcon;
mod english;
mod error;
mod formula;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod inline;
mod language;
mod lines;
mod markdown;
mod mouth;
mod pcm;
mod playback;
mod queue;
mod reading;
mod sentence;
mod sentences;
mod speakable;
mod synthesiser;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::config;
use crate::platform::environment::Environment;
use crate::voice::worker::Crash;
pub use earcon::Earcon;
pub use error::SpeechError;
use mouth::Mouth;
pub use playback::FarEnd;
use queue::Kind;
use reading::Reading;

/// Texts of clients that may wait to be said at a time. The bus bounds each of them, to 64 KiB.
const WISHES: usize = 32;

/// Answers that may wait to be said at a time. Clients cannot take these places.
const ANSWERS: usize = 8;

/// Earcons that may wait to be played at a time. One more would tell nothing new.
const EARCONS: usize = 2;

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
    /// The mouth's thread panicked.
    Crashed(Crash),
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
    places: Places,
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
            places: Places::default(),
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

    /// Plays a short sound, if the configuration wants any, before what clients want to have said, and behind the
    /// sentence under way.
    pub fn signal(&self, config: &config::Speech, earcon: Earcon) {
        let Ok(place) = self.places.take(Kind::Earcon) else {
            return;
        };
        if config.earcons {
            let (sounds, done) = self
                .mouth
                .say(self.number(), Kind::Earcon, config.volume.get());
            tokio::spawn(async move {
                // A sign that could not be given is none that is missed.
                let _ = sounds.send(earcon.sound()).await;
                drop(sounds);
                let _ = done.await;
                drop(place);
            });
        }
    }

    /// Begins to say an answer, which goes before what clients want to have said.
    ///
    /// # Errors
    /// When too many answers wait to be said.
    pub fn answer(&self, config: &config::Speech) -> Result<Speaking, SpeechError> {
        self.begin(config, &Manner::default(), Kind::Answer)
    }

    /// Begins to say what a client wants to have said, after what was begun before.
    ///
    /// # Errors
    /// When too many texts wait to be said.
    pub fn wish(&self, config: &config::Speech, manner: &Manner) -> Result<Speaking, SpeechError> {
        self.begin(config, manner, Kind::Wish)
    }

    fn begin(
        &self,
        config: &config::Speech,
        manner: &Manner,
        kind: Kind,
    ) -> Result<Speaking, SpeechError> {
        let place = self.places.take(kind)?;
        let id = self.number();
        let (pieces, text) = unbounded_channel();
        let reading = Reading::new(self, config, manner, id, kind);
        Ok(Speaking {
            pieces: Some(pieces),
            task: tokio::spawn(async move {
                let outcome = reading.read_out(text).await;
                drop(place);
                outcome
            }),
            id,
            mouth: Arc::clone(&self.mouth),
        })
    }

    /// The number of the next speech.
    fn number(&self) -> u64 {
        self.count.fetch_add(1, Relaxed) + 1
    }
}

/// The places of speeches that have not ended. Each kind has its own.
#[derive(Debug, Clone)]
struct Places {
    wishes: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    earcons: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            wishes: Arc::new(Semaphore::new(WISHES)),
            answers: Arc::new(Semaphore::new(ANSWERS)),
            earcons: Arc::new(Semaphore::new(EARCONS)),
        }
    }
}

impl Places {
    /// A place, to be dropped at the end of the speech.
    fn take(&self, kind: Kind) -> Result<OwnedSemaphorePermit, SpeechError> {
        let (places, all) = match kind {
            Kind::Wish => (&self.wishes, WISHES),
            Kind::Answer => (&self.answers, ANSWERS),
            Kind::Earcon => (&self.earcons, EARCONS),
        };
        let place = Arc::clone(places).try_acquire_owned();
        place.map_err(|_| SpeechError::Busy { places: all })
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
        // It is aborted only when this is dropped, so what failed is a panic.
        (&mut self.task).await.unwrap_or(Err(SpeechError::Crashed))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn speech() -> (Speech, UnboundedReceiver<Said>, config::Speech) {
        let config = config::Speech {
            device: "no such loudspeaker".into(),
            ..config::Speech::default()
        };
        let (speech, reports) = Speech::start(&config, Environment::of_the_system()).unwrap();
        (speech, reports, config)
    }

    #[tokio::test]
    async fn texts_of_clients_beyond_their_places_are_refused_and_answers_have_places_of_their_own()
    {
        let (speech, _reports, config) = speech();
        let wish = || speech.wish(&config, &Manner::default());
        let mut wishes: Vec<_> = (0..WISHES).map(|_| wish().unwrap()).collect();
        assert_eq!(wish().err(), Some(SpeechError::Busy { places: WISHES }));
        let answers: Vec<_> = (0..ANSWERS)
            .map(|_| speech.answer(&config).unwrap())
            .collect();
        assert!(speech.answer(&config).is_err());
        // One that has ended leaves its place; it had nothing to say.
        let last = wishes.pop().unwrap();
        assert_eq!(last.finish().await, Ok(()));
        wish().unwrap();
        drop(answers);
    }

    #[tokio::test]
    async fn a_mouth_that_panics_says_so_fails_what_was_to_be_said_and_goes_on() {
        let (speech, mut reports, _) = speech();
        let (sounds, done) = speech.mouth.say(1, Kind::Wish, 1.0);
        speech.mouth.panic();
        assert!(done.await.is_err(), "nobody knows what became of it");
        drop(sounds);
        let crash = async {
            while let Some(said) = reports.recv().await {
                if let Said::Crashed(crash) = said {
                    return Some(crash);
                }
            }
            None
        };
        assert_eq!(crash.await, Some(Crash::Restarted));
        let (_sounds, done) = speech.mouth.say(2, Kind::Wish, 1.0);
        let outcome = tokio::time::timeout(Duration::from_secs(30), done).await;
        let Ok(Ok(Err(SpeechError::NoLoudspeaker(why)))) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(why.contains("no such loudspeaker"), "{why}");
    }
}
