//! The program that speaks: it reads text from its standard input and writes sound to its standard output.
//!
//! It gets one sentence at a time, never as an argument, and through no shell. It is ended when its sound is no longer
//! wanted, and when it hangs or never ends ([`crate::platform::program`]).

use std::process::ExitStatus;
use std::time::Duration;

use gemmad_text as text;
use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;
use tokio::time::timeout;

use super::error::SpeechError;
use super::mouth::Sounds;
use super::pcm::Reader;
use super::queue::Sound;
use crate::config;
use crate::platform::environment::Environment;
use crate::platform::program::{self, Lifeline, Program, ProgramError};

/// Longest time in which the program may write nothing. A large voice takes seconds to load on a small board.
const PATIENCE: Duration = Duration::from_secs(15);

/// Longest sound of one sentence in seconds. The longest sentence takes about a minute.
const LONGEST: u64 = 180;

/// Bytes read at a time: 93 ms of 16-bit samples at 22.05 kHz.
const PIECE: usize = 4096;

/// Most bytes kept of what the program writes on standard error.
const COMPLAINT: usize = 300;

/// How sentences become sound.
#[derive(Debug, Clone)]
pub struct Synthesiser {
    program: String,
    arguments: Vec<String>,
    /// Rate of samples without a header.
    raw: Option<u32>,
    environment: Environment,
}

impl Synthesiser {
    /// The configured synthesiser, in this voice.
    ///
    /// # Errors
    /// When no program is configured.
    pub fn new(
        config: &config::Speech,
        voice: &str,
        environment: &Environment,
    ) -> Result<Self, SpeechError> {
        let fill = |word: &String| {
            let word = word.replace("{voice}", voice);
            word.replace("{language}", &config.language)
        };
        let mut command = config.command.iter().map(fill);
        Ok(Self {
            program: command.next().ok_or(SpeechError::NoProgram)?,
            arguments: command.collect(),
            raw: Some(config.rate.get()).filter(|&rate| rate > 0),
            environment: environment.clone(),
        })
    }

    /// Speaks one sentence into `sounds`, as it is synthesised.
    ///
    /// # Errors
    /// When the program cannot be run, fails, hangs, or writes no sound.
    pub async fn speak(&self, sentence: &str, sounds: &Sounds) -> Result<(), SpeechError> {
        let program = Program {
            path: (&self.program).into(),
            arguments: self.arguments.iter().map(Into::into).collect(),
            input: Some(format!("{sentence}\n").into()),
            environment: &self.environment,
            variables: Vec::new(),
            account: None,
        };
        let started = program.start().await;
        let mut running = started.map_err(|error| self.not_started(&error))?;
        let mut complaint = Vec::new();
        let complaining = program::read(&mut running.stderr, COMPLAINT, &mut complaint);
        let speaking = async {
            let has_sound = self.listen(&mut running.stdout, sounds).await?;
            Ok((has_sound, self.end(&mut running.lifeline).await?))
        };
        let (has_sound, status) = program::alongside(speaking, complaining).await?;
        if has_sound && status.success() {
            return Ok(());
        }
        Err(SpeechError::Failed {
            program: self.program.clone(),
            status: program::describe(status),
            said: on_one_line(&complaint).into(),
        })
    }

    /// Hands the program's sound on to its end; returns whether there was any.
    async fn listen(&self, stdout: &mut ChildStdout, sounds: &Sounds) -> Result<bool, SpeechError> {
        let mut reader = Reader::new(self.raw);
        let mut piece = vec![0; PIECE];
        let mut left = None;
        loop {
            let read = timeout(PATIENCE, stdout.read(&mut piece)).await;
            // An error of the pipe is an end.
            let length = read.map_err(|_| self.hangs())?.unwrap_or(0);
            if length == 0 {
                return Ok(left.is_some());
            }
            let read = reader.push(&piece[..length]);
            let Some((format, samples)) = read.map_err(|why| self.unplayable(why))? else {
                continue;
            };
            let (rate, channels) = (format.rate, format.channels);
            let most = LONGEST * u64::from(rate) * u64::from(channels);
            let left = left.get_or_insert(most);
            *left = left.saturating_sub(samples.len() as u64);
            if *left == 0 {
                return Err(self.unplayable("it does not end"));
            }
            let sound = Sound {
                rate,
                channels,
                samples,
            };
            sounds.send(sound).await?;
        }
    }

    /// Waits until the program ends.
    async fn end(&self, lifeline: &mut Lifeline) -> Result<ExitStatus, SpeechError> {
        let status = timeout(PATIENCE, lifeline.ended()).await;
        let status = status.map_err(|_| self.hangs())?;
        status.map_err(|error| self.not_started(&error))
    }

    fn not_started(&self, error: &ProgramError) -> SpeechError {
        SpeechError::NotStarted {
            program: self.program.clone(),
            why: error.to_string(),
        }
    }

    fn hangs(&self) -> SpeechError {
        SpeechError::Hangs {
            program: self.program.clone(),
            seconds: PATIENCE.as_secs(),
        }
    }

    fn unplayable(&self, why: &'static str) -> SpeechError {
        SpeechError::Unplayable {
            program: self.program.clone(),
            why,
        }
    }
}

/// The program's complaint, without line breaks.
fn on_one_line(complaint: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaint);
    match text::line(text.trim(), usize::MAX).trim() {
        "" => "nothing".into(),
        text => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::super::mouth::Mouth;
    use super::super::queue::Kind;
    use super::super::spoken::Spoken;
    use super::*;

    /// Lets this script speak a sentence.
    async fn speak(script: &str) -> Result<(), SpeechError> {
        speak_by(&["/bin/sh", "-c", script]).await
    }

    async fn speak_by(command: &[&str]) -> Result<(), SpeechError> {
        let config = config::Speech {
            command: command.iter().map(|&word| word.into()).collect(),
            ..config::Speech::default()
        };
        let (said, _reports) = tokio::sync::mpsc::unbounded_channel();
        let mouth = Arc::new(Mouth::spawn(&config, said).unwrap());
        let (sounds, _) = mouth.say(1, Kind::Wish, 1.0, Spoken::default());
        let environment = Environment::of_the_system();
        let synthesiser = Synthesiser::new(&config, "en", &environment).unwrap();
        synthesiser.speak("some words", &sounds).await
    }

    #[tokio::test]
    async fn it_reads_the_sentence_and_gets_no_descriptor_and_no_variable_of_the_daemon() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // As zbus receives those of clients: without FD_CLOEXEC.
        let flags = rustix::fs::OFlags::RDONLY;
        let _kept = rustix::fs::open(file.path(), flags, rustix::fs::Mode::empty()).unwrap();
        // The last descriptor is the folder that is listed. Cargo's own variables are in the daemon's environment here.
        let script = "echo $(cat) $(ls /proc/self/fd) $(env | grep -c ^CARGO) >&2; exit 3";
        let SpeechError::Failed { status, said, .. } = speak(script).await.unwrap_err() else {
            panic!("it did not fail")
        };
        assert_eq!(said.reveal(), "some words 0 1 2 3 0");
        assert_eq!(status, "it ended with code 3");
    }

    #[tokio::test]
    async fn much_on_standard_error_does_not_hold_it_up() {
        let begun = Instant::now();
        let failed = speak("seq 100000 >&2; exit 1").await.unwrap_err();
        assert!(matches!(failed, SpeechError::Failed { .. }), "{failed}");
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn one_that_is_not_there_is_no_failure_of_its_own() {
        let refused = speak_by(&["/nonexistent"]).await.unwrap_err();
        assert!(
            matches!(refused, SpeechError::NotStarted { .. }),
            "{refused}"
        );
    }
}
