//! The daemon answers as llama.cpp does, for the same sound and prompt, with the same build and greedy sampling.
//!
//! The reference is `examples/llama_cpp.rs`, which feeds the prompt to llama.cpp's own multimodal
//! path, decodes the sound file with llama.cpp's own decoder, and uses no code of gemmad.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use gemmad_api::{AskOptions, Event};
use gemmad_testbed::{Bus, Daemon, Model, nano, speech};

/// Path of the example, next to this test's folder. Cargo builds examples before it runs tests.
fn reference() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().unwrap().parent().unwrap();
    profile.join("examples/llama_cpp")
}

/// The tokens of llama.cpp's answer to `prompt`.
fn llama_cpp(prompt: &str, sound: Option<&Path>) -> Vec<i32> {
    let model = Model::nano();
    let mut command = Command::new(reference());
    command
        .arg("--text")
        .arg(&model.text)
        .args(["--prompt", prompt, "--threads", "1"]);
    if let Some(sound) = sound {
        command
            .arg("--mmproj")
            .arg(&model.mmproj)
            .arg("--audio")
            .arg(sound);
    }
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(line["tokens"].clone()).unwrap()
}

/// The tokens of the daemon's answer to `prompt`, over the bus.
async fn gemmad(daemon: &Daemon, prompt: &str, sound: Option<&Path>) -> Vec<i32> {
    let audio = sound.map(|path| std::os::fd::OwnedFd::from(File::open(path).unwrap()).into());
    let options = AskOptions {
        audio,
        ..AskOptions::default()
    };
    answer(daemon, prompt, options).await.0
}

/// The tokens and the text of the daemon's answer.
async fn answer(daemon: &Daemon, prompt: &str, options: AskOptions) -> (Vec<i32>, String) {
    let options = AskOptions {
        protocol: Some(true),
        ..options
    };
    let (reader, writer) = std::io::pipe().unwrap();
    daemon
        .manager()
        .stream(prompt, options, (&writer).into())
        .await
        .unwrap();
    drop(writer);
    let lines = std::io::read_to_string(reader).unwrap();
    let mut answer = (Vec::new(), String::new());
    for line in lines.lines() {
        match serde_json::from_str(line).unwrap() {
            Event::Text { text, tokens } => {
                answer.0.extend(tokens);
                answer.1 += &text;
            }
            Event::Done(_) => {}
            Event::Error { message, .. } => panic!("{message}"),
        }
    }
    answer
}

#[tokio::test]
async fn spoken_and_typed_turns_are_answered_token_for_token_as_llama_cpp_does() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus)
        .set("model", "mel", "llama.cpp")
        .start()
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sentences = [
        (nano::COMMAND, "en-us"),
        ("set the temperature to twenty one degrees", "en-gb"),
        (
            "what is the meaning of life the universe and everything",
            "en-us+f3",
        ),
        ("stop", "en-gb-scotland"),
    ];
    for (sentence, voice) in sentences {
        let sound = folder.path().join("sound.wav");
        speech::write_wav(&sound, &speech::say(sentence, voice).unwrap()).unwrap();
        // The turn as the nano model's template renders it, with llama.cpp's marker for sound.
        let turn = |said: &str| {
            format!("<bos><|turn>user\n{said}<turn|>\n<|turn>model\n<|channel>thought\n<channel|>")
        };
        for (prompt, raw, sound) in [
            ("", turn("<__media__>"), Some(sound.as_path())),
            (
                "Transcribe.",
                turn("<__media__>Transcribe."),
                Some(sound.as_path()),
            ),
            (sentence, turn(sentence), None),
        ] {
            let expected = llama_cpp(&raw, sound);
            let answered = gemmad(&daemon, prompt, sound).await;
            assert!(!expected.is_empty());
            assert_eq!(
                answered, expected,
                "{sentence:?} in {voice}, asked {prompt:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_clip_of_more_rows_than_a_batch_is_answered_as_llama_cpp_does() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus)
        .set("model", "mel", "llama.cpp")
        .start()
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("long.wav");
    let mut samples = speech::say(nano::COMMAND, "en-us").unwrap().repeat(20);
    // 26 s are 650 rows: more than llama.cpp's own batch of 512, and five of the daemon's.
    samples.truncate(26 * 16_000);
    speech::write_wav(&sound, &samples).unwrap();
    let raw = "<bos><|turn>user\n<__media__>Transcribe.<turn|>\n<|turn>model\n<|channel>thought\n<channel|>";
    let expected = llama_cpp(raw, Some(&sound));
    assert_eq!(gemmad(&daemon, "Transcribe.", Some(&sound)).await, expected);
}

#[tokio::test]
async fn ten_turns_of_a_conversation_are_answered_as_llama_cpp_answers_the_whole_text_each_time() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let mut turns = "<bos>".to_owned();
    for asked in [
        "how are you",
        "who are you",
        "what can you do",
        "thank you",
        "tell me a joke",
        "good morning",
        "do you like music",
        "how old are you",
        "good night",
        "see you tomorrow",
    ] {
        let asking = format!("{turns}<|turn>user\n{asked}<turn|>\n<|turn>model\n");
        let expected = llama_cpp(&format!("{asking}<|channel>thought\n<channel|>"), None);
        let options = AskOptions {
            conversation: Some("ten".into()),
            max_tokens: Some(64),
            ..AskOptions::default()
        };
        let (tokens, text) = answer(&daemon, asked, options).await;
        assert!(!tokens.is_empty());
        // The reference has a longest answer of its own.
        let both = tokens.len().min(expected.len());
        assert_eq!(tokens[..both], expected[..both], "{asked}: {text}");
        // A call would be text in what was said, which the reference could not tell from one.
        assert!(!text.contains("<|"), "{asked}: {text}");
        turns = format!("{asking}{}<turn|>\n", text.trim());
    }
}
