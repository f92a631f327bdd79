//! The handle of speaking: who says what, in which order, and how many may wait.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::earcon::Earcon;
use super::error::SpeechError;
use super::manner::Manner;
use super::mouth::Mouth;
use super::queue::Kind;
use super::reading::{Reading, Voice};
use super::said::Said;
use super::spoken::Spoken;
use super::volume::Volume;
use crate::config;
use crate::platform::environment::Environment;

/// Texts of clients that may wait to be said at a time. The bus bounds each of them, to 64 KiB.
const WISHES: usize = 32;

/// Answers that may wait to be said at a time. Clients cannot take these places.
const ANSWERS: usize = 8;

/// Earcons that may wait to be played at a time. One more would tell nothing new.
const EARCONS: usize = 2;

/// The handle of speaking. Clones share the mouth.
#[derive(Debug, Clone)]
pub struct Speech {
    voice: Voice,
    count: Arc<AtomicU64>,
    places: Places,
}

impl Speech {
    /// Starts the mouth's thread. Synthesisers get the variables of `environment`; `volume` is that of the assistant.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(
        config: &config::Speech,
        environment: Environment,
        volume: Volume,
    ) -> io::Result<(Self, UnboundedReceiver<Said>)> {
        let (said, reports) = unbounded_channel();
        let speech = Self {
            voice: Voice {
                mouth: Arc::new(Mouth::spawn(config, said.clone())?),
                said,
                environment,
                volume,
            },
            count: Arc::default(),
            places: Places::default(),
        };
        Ok((speech, reports))
    }

    /// Applies this configuration from now on, its volume too; current speeches are said to their end.
    pub fn configure(&self, config: &config::Speech) {
        self.voice.volume.reset();
        self.voice.mouth.configure(config);
    }

    /// Opens the loudspeaker, because something will be said soon.
    pub fn prepare(&self) {
        self.voice.mouth.prepare();
    }

    /// Falls silent.
    pub fn stop(&self) {
        self.voice.mouth.stop(None);
    }

    /// Plays a short sound, if the configuration wants any; that of a timer always. It goes before texts of clients, and
    /// behind the sentence under way.
    pub fn signal(&self, config: &config::Speech, earcon: Earcon) {
        let Ok(place) = self.places.take(Kind::Earcon) else {
            return;
        };
        if config.earcons || earcon == Earcon::Timer {
            // A timer is heard even if the assistant was asked to be quiet.
            let volume = match earcon {
                Earcon::Timer => config.volume.get(),
                Earcon::Wake | Earcon::Error => self.voice.volume.instead_of(config.volume),
            };
            let mouth = &self.voice.mouth;
            let (sounds, done) = mouth.say(self.number(), Kind::Earcon, volume, Spoken::default());
            tokio::spawn(async move {
                // An earcon that could not be played is not missed.
                let _ = sounds.send(earcon.sound()).await;
                drop(sounds);
                let _ = done.await;
                drop(place);
            });
        }
    }

    /// Begins to say an answer, which goes before texts of clients. `spoken` gets its sentences as they are played.
    ///
    /// # Errors
    /// When too many answers wait to be said.
    pub fn answer(&self, config: &config::Speech, spoken: Spoken) -> Result<Speaking, SpeechError> {
        self.begin(config, &Manner::default(), Kind::Answer, spoken)
    }

    /// Begins to say a text of a client, behind all that was begun before.
    ///
    /// # Errors
    /// When too many texts wait to be said.
    pub fn wish(&self, config: &config::Speech, manner: &Manner) -> Result<Speaking, SpeechError> {
        self.begin(config, manner, Kind::Wish, Spoken::default())
    }

    fn begin(
        &self,
        config: &config::Speech,
        manner: &Manner,
        kind: Kind,
        spoken: Spoken,
    ) -> Result<Speaking, SpeechError> {
        let place = self.places.take(kind)?;
        let id = self.number();
        let (pieces, text) = unbounded_channel();
        let reading = Reading::new(&self.voice, config, manner, id, kind, spoken);
        Ok(Speaking {
            pieces: Some(pieces),
            task: tokio::spawn(async move {
                let outcome = reading.read_out(text).await;
                drop(place);
                outcome
            }),
            id,
            mouth: Arc::clone(&self.voice.mouth),
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

/// A speech under way. Dropping it stops it.
pub struct Speaking {
    /// `None` after the last.
    pieces: Option<UnboundedSender<String>>,
    task: JoinHandle<Result<(), SpeechError>>,
    id: u64,
    mouth: Arc<Mouth>,
}

impl Speaking {
    /// Appends a piece of its text.
    pub fn push(&self, piece: &str) {
        if let Some(pieces) = &self.pieces {
            // If it failed meanwhile, [`Self::finish`] says so.
            let _ = pieces.send(piece.into());
        }
    }

    /// Waits until it was said.
    ///
    /// # Errors
    /// Why it was not.
    pub async fn finish(mut self) -> Result<(), SpeechError> {
        self.pieces = None;
        // The task is aborted only when this is dropped, so a failure is a panic.
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
    use crate::platform::worker::Crash;

    fn speech() -> (Speech, UnboundedReceiver<Said>, config::Speech) {
        let config = config::Speech {
            device: "no such loudspeaker".into(),
            ..config::Speech::default()
        };
        let (speech, reports) =
            Speech::start(&config, Environment::of_the_system(), Volume::default()).unwrap();
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
            .map(|_| speech.answer(&config, Spoken::default()).unwrap())
            .collect();
        assert!(speech.answer(&config, Spoken::default()).is_err());
        // One that has ended leaves its place; it had nothing to say.
        let last = wishes.pop().unwrap();
        assert_eq!(last.finish().await, Ok(()));
        wish().unwrap();
        drop(answers);
    }

    #[tokio::test]
    async fn a_mouth_that_panics_says_so_fails_what_was_to_be_said_and_goes_on() {
        let (speech, mut reports, _) = speech();
        let (sounds, done) = speech
            .voice
            .mouth
            .say(1, Kind::Wish, 1.0, Spoken::default());
        speech.voice.mouth.panic();
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
        let (_sounds, done) = speech
            .voice
            .mouth
            .say(2, Kind::Wish, 1.0, Spoken::default());
        let outcome = tokio::time::timeout(Duration::from_secs(30), done).await;
        let Ok(Ok(Err(SpeechError::NoLoudspeaker(why)))) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(why.contains("no such loudspeaker"), "{why}");
    }
}
