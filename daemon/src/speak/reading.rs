//! The task that reads one text out: it cuts the text into sentences as it comes and gives them to the synthesiser,
//! one at a time.

use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::task;

use super::error::SpeechError;
use super::manner::Manner;
use super::mouth::{Mouth, Sounds};
use super::passage::Passage;
use super::queue::Kind;
use super::said::Said;
use super::sentences::{Sentences, Step};
use super::speakable::speakable;
use super::spoken::Spoken;
use super::tongue::Tongues;
use super::volume::Volume;
use crate::config;
use crate::platform::environment::Environment;

/// What every text is spoken with.
#[derive(Debug, Clone)]
pub struct Voice {
    /// Plays it.
    pub mouth: Arc<Mouth>,
    /// Gets the reports.
    pub said: UnboundedSender<Said>,
    /// Variables of the synthesiser.
    pub environment: Environment,
    /// The volume, if another than the configured one was asked for.
    pub volume: Volume,
}

/// One text on its way to the mouth.
pub struct Reading {
    tongues: Tongues,
    volume: f32,
    id: u64,
    kind: Kind,
    spoken: Spoken,
    mouth: Arc<Mouth>,
    said: UnboundedSender<Said>,
}

/// A speech that was begun.
struct Begun {
    sounds: Sounds,
    done: oneshot::Receiver<Result<(), SpeechError>>,
}

impl Reading {
    /// Speech number `id`, in this manner. `spoken` gets its sentences as they are played.
    pub fn new(
        voice: &Voice,
        config: &config::Speech,
        manner: &Manner,
        id: u64,
        kind: Kind,
        spoken: Spoken,
    ) -> Self {
        Self {
            tongues: Tongues::new(config, manner, &voice.environment),
            volume: manner.volume.map_or_else(
                || voice.volume.instead_of(config.volume),
                config::Fraction::get,
            ),
            id,
            kind,
            spoken,
            mouth: Arc::clone(&voice.mouth),
            said: voice.said.clone(),
        }
    }

    /// Reads the text out, and returns when it was heard. Long texts give way to other tasks while they are cut.
    ///
    /// # Errors
    /// When it cannot be said to its end.
    pub async fn read_out(
        mut self,
        mut text: UnboundedReceiver<String>,
    ) -> Result<(), SpeechError> {
        let mut sentences = Sentences::new(&self.tongues.current().language);
        let mut begun = None;
        loop {
            match sentences.read() {
                Step::Passage(passage) => {
                    if let Passage::Text(text) = &passage {
                        self.tongues.follow(text);
                        sentences.go_on_in(&self.tongues.current().language);
                    }
                    match self.say(&passage, &mut begun).await {
                        // The mouth knows why it takes no more sound.
                        Err(SpeechError::Stopped) => break,
                        said => said?,
                    }
                }
                Step::More => task::yield_now().await,
                Step::Starved => match text.recv().await {
                    Some(piece) => sentences.push(&piece),
                    None => sentences.end(),
                },
                Step::Over => break,
            }
        }
        let Some(Begun { sounds, done }) = begun else {
            return Ok(());
        };
        drop(sounds);
        done.await.unwrap_or(Err(SpeechError::Crashed))
    }

    /// Hands the sound of a passage to the mouth, if there is anything to say.
    async fn say(&self, passage: &Passage, begun: &mut Option<Begun>) -> Result<(), SpeechError> {
        let tongue = self.tongues.current();
        let sentence = speakable(passage, &tongue.language);
        if sentence.is_empty() {
            return Ok(());
        }
        let Begun { sounds, .. } = begun.get_or_insert_with(|| {
            let (sounds, done) =
                self.mouth
                    .say(self.id, self.kind, self.volume, self.spoken.clone());
            Begun { sounds, done }
        });
        let words = match passage {
            Passage::Text(text) => text.trim(),
            Passage::Code => "",
        };
        sounds.begin_sentence(words).await?;
        let spoken = match &tongue.synthesiser {
            Ok(synthesiser) => synthesiser.speak(&sentence, sounds).await,
            Err(error) => Err(error.clone()),
        };
        self.report(&spoken);
        spoken
    }

    /// Reports whether the synthesiser works.
    fn report(&self, spoken: &Result<(), SpeechError>) {
        let problem = match spoken {
            Ok(()) => None,
            Err(SpeechError::Stopped) => return,
            Err(error) => Some(error.to_string()),
        };
        // The receiver is gone when the daemon ends.
        let _ = self.said.send(Said::NoSound(problem));
    }
}
