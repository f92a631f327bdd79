//! A held-out set: its questions as written by the recipe, and asking one.

use std::{
    fs::{File, read_to_string},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use gemmad_api::AskOptions;
use gemmad_testbed::Daemon;
use serde::Deserialize;

/// Maximum number of tokens of an answer; the longest expected one has fewer.
const MAX_TOKENS: u32 = 64;

/// A line of a set's manifest.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Question {
    /// A sound file, relative to the manifest's folder.
    pub audio: Option<PathBuf>,
    /// Typed text, without sound.
    pub text: String,
    /// Typed text after the sound.
    pub prompt: String,
    /// The right answer.
    pub expected: String,
    /// The spoken words.
    pub say: String,
    /// The voice, in sets with few voices.
    pub voice: Option<String>,
}

/// A question and the model's answer.
#[derive(Debug)]
pub struct Answer {
    /// The question.
    pub question: Question,
    /// The answer, up to the token that ends the turn.
    pub text: String,
}

impl Answer {
    /// Whether it equals the expected answer, letter by letter.
    pub fn is_exact(&self) -> bool {
        self.text == self.question.expected
    }

    /// The expected text and the given one.
    pub fn pair(&self) -> (String, String) {
        (self.question.expected.clone(), self.text.clone())
    }
}

/// The questions of the set `name`, or the first `limit` of them.
pub fn load(evaluation: &Path, name: &str, limit: Option<usize>) -> Result<Vec<Question>> {
    let path = evaluation.join(format!("{name}.jsonl"));
    let broken = || {
        let (path, folder) = (path.display(), evaluation.display());
        format!("{path} is not a held-out set; delete {folder}, and it is made anew")
    };
    let text = read_to_string(&path).with_context(broken)?;
    let lines = text.lines().take(limit.unwrap_or(usize::MAX));
    let questions: Result<Vec<_>, _> = lines.map(serde_json::from_str).collect();
    let questions = questions.with_context(broken)?;
    ensure!(!questions.is_empty(), broken());
    Ok(questions)
}

/// Asks a question, with greedy sampling and without a system turn.
pub async fn ask(daemon: &Daemon, evaluation: &Path, question: Question) -> Result<Answer> {
    let open = |path: &PathBuf| {
        let path = evaluation.join(path);
        File::open(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let audio = question.audio.as_ref().map(open).transpose()?;
    let options = AskOptions {
        audio: audio.map(|file| OwnedFd::from(file).into()),
        max_tokens: Some(MAX_TOKENS),
        temperature: Some(0.0),
        protocol: Some(true),
        ..AskOptions::default()
    };
    let prompt = question.text.clone() + &question.prompt;
    let answered = daemon.manager().ask(&prompt, options).await;
    let (text, _) = answered.with_context(|| format!("no answer to {question:?}"))?;
    Ok(Answer { question, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_and_a_missing_or_empty_one_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(folder.path().join("voices.jsonl"), text).unwrap();
        let load = |limit| load(folder.path(), "voices", limit);
        let advice = |limit| format!("{:#}", load(limit).unwrap_err());
        assert!(advice(None).contains("made anew"));
        write("");
        assert!(advice(None).contains("made anew"));
        write(
            r#"{"set": "voices", "audio": "voices/0000.wav", "prompt": "", "expected": "A", "say": "a"}
{"set": "voices", "text": "b", "prompt": "", "expected": "B", "say": "b", "voice": "x"}
"#,
        );
        let questions = load(None).unwrap();
        assert_eq!(questions[0].audio, Some("voices/0000.wav".into()));
        assert_eq!(questions[1].text, "b");
        assert_eq!(questions[1].voice.as_deref(), Some("x"));
        assert_eq!(load(Some(1)).unwrap().len(), 1);
    }
}
