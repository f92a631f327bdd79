//! The program that speaks: it reads text from its standard input and writes sound to its standard output.
//!
//! It gets one sentence at a time, as an argument never, and through no shell. It runs in a process group of
//! its own, which is killed when nobody wants the sound any more, and when it hangs or never ends.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::SpeechError;
use super::mouth::{Sound, Sounds};
use super::pcm::Reader;
use crate::config;
use crate::platform::group::Group;

/// How long the program may write nothing. A large voice takes seconds to load on a small board.
const PATIENCE: Duration = Duration::from_secs(15);

/// Longest sound of one sentence in seconds. The longest sentence takes about a minute.
const LONGEST: u64 = 180;

/// Bytes read at a time: 93 ms of 16-bit samples at 22.05 kHz.
const PIECE: usize = 4096;

/// Most bytes of what the program complains that are kept.
const COMPLAINT: usize = 300;

/// What the daemon was told by its own service manager, and is nobody else's business.
const PRIVATE: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

/// How sentences become sound.
#[derive(Debug, Clone)]
pub struct Synthesiser {
    program: String,
    arguments: Vec<String>,
    /// Rate of samples without a header.
    raw: Option<u32>,
}

impl Synthesiser {
    /// As configured, in this voice.
    ///
    /// # Errors
    /// When no program is configured.
    pub fn new(config: &config::Speech, voice: &str) -> Result<Self, SpeechError> {
        let fill = |word: &String| {
            let word = word.replace("{voice}", voice);
            word.replace("{language}", &config.language)
        };
        let mut command = config.command.iter().map(fill);
        Ok(Self {
            program: command.next().ok_or(SpeechError::NoProgram)?,
            arguments: command.collect(),
            raw: Some(config.rate.get()).filter(|&rate| rate > 0),
        })
    }

    /// Speaks one sentence into `sounds`, as it is synthesised.
    ///
    /// # Errors
    /// When the program cannot be run, fails, hangs, or writes no sound.
    pub async fn speak(&self, sentence: &str, sounds: &Sounds) -> Result<(), SpeechError> {
        let mut running = self.start()?;
        running.tell(sentence).await;
        let mut reader = Reader::new(self.raw);
        let mut piece = vec![0; PIECE];
        let mut left = None;
        while let Some(bytes) = running.read(&mut piece).await? {
            let read = reader.push(bytes).map_err(|why| self.unplayable(why))?;
            let Some((format, samples)) = read else {
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
        let status = running.end().await?;
        if left.is_some() && status.success() {
            return Ok(());
        }
        Err(SpeechError::Failed {
            program: self.program.clone(),
            status: status.to_string(),
            said: running.complaint().await,
        })
    }

    fn start(&self) -> Result<Running<'_>, SpeechError> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in PRIVATE {
            command.env_remove(name);
        }
        let group = Group::start(&mut command).map_err(|error| SpeechError::NotStarted {
            program: self.program.clone(),
            why: error.to_string(),
        })?;
        Ok(Running {
            synthesiser: self,
            group,
        })
    }

    fn unplayable(&self, why: &'static str) -> SpeechError {
        SpeechError::Unplayable {
            program: self.program.clone(),
            why,
        }
    }
}

/// The program at work.
struct Running<'a> {
    synthesiser: &'a Synthesiser,
    group: Group,
}

impl Running<'_> {
    /// Writes the sentence, which fits into a pipe whether or not the program reads, and ends the input.
    async fn tell(&mut self, sentence: &str) {
        if let Some(mut stdin) = self.group.child.stdin.take() {
            // If it does not want any, its end says why.
            let _ = stdin.write_all(sentence.as_bytes()).await;
            let _ = stdin.write_all(b"\n").await;
        }
    }

    /// The next bytes of sound; `None` after the last.
    async fn read<'a>(&mut self, piece: &'a mut [u8]) -> Result<Option<&'a [u8]>, SpeechError> {
        let Some(stdout) = &mut self.group.child.stdout else {
            return Ok(None);
        };
        let read = timeout(PATIENCE, stdout.read(piece)).await;
        let read = read.map_err(|_| self.hangs())?;
        // A broken pipe is an end.
        let length = read.unwrap_or(0);
        Ok((length > 0).then(|| &piece[..length]))
    }

    /// Waits until the program ends.
    async fn end(&mut self) -> Result<ExitStatus, SpeechError> {
        let status = timeout(PATIENCE, self.group.wait()).await;
        let status = status.map_err(|_| self.hangs())?;
        status.map_err(|error| SpeechError::NotStarted {
            program: self.synthesiser.program.clone(),
            why: error.to_string(),
        })
    }

    /// The beginning of what it wrote on standard error, on one line.
    async fn complaint(&mut self) -> String {
        let mut bytes = Vec::new();
        if let Some(stderr) = self.group.child.stderr.take() {
            // A child of it may hold the other end.
            let mut stderr = stderr.take(COMPLAINT as u64);
            let _ = timeout(Duration::from_secs(1), stderr.read_to_end(&mut bytes)).await;
        }
        let text = String::from_utf8_lossy(&bytes);
        let text: String = text
            .chars()
            .map(|it| if it.is_control() { ' ' } else { it })
            .collect();
        match text.trim() {
            "" => "nothing".into(),
            text => text.into(),
        }
    }

    fn hangs(&self) -> SpeechError {
        SpeechError::Hangs {
            program: self.synthesiser.program.clone(),
            seconds: PATIENCE.as_secs(),
        }
    }
}
