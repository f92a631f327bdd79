//! Every size and quantisation of Gemma: it loads, answers as llama.cpp does token for token, hears if it can, and says what
//! it cannot.
//!
//! The files are tiny, with random weights and the structure of the real ones (`models/shape/sizes.py`). llama.cpp reads each
//! answer behind its prompt and tells of every token by how much it is less likely than the likeliest. Two tokens may be
//! equally likely but for roundings, which depend on the sizes of batches, in llama.cpp too; such ties are counted.
//!
//! `UPDATE=1 cargo test --workspace --test sizes -- --ignored` writes the tables in `docs/models.md`.

mod model;
mod reference;
mod table;

use std::fs;
use std::path::PathBuf;

use gemmad::config::{self, Bounded, Config};
use gemmad::engine::{Answer, Clip, Engine, EngineError, Event, Form, Preamble, Request, Turn};
use gemmad_testbed::speech;

use self::model::{Files, Gemma, PROJECTORS, QUANTISATIONS, SIZES};
use self::reference::{Judged, Said};

/// Tokens of an answer: enough for the window of the tiny files to move on.
const LONGEST: u32 = 48;

/// A text longer than their window and than a batch of [`config`].
fn long() -> String {
    ["what has four wheels and flies?"; 10].join(" ")
}

fn config(files: &Files) -> Config {
    let mut config = Config::default();
    config.model.text.clone_from(&files.text);
    config.model.mmproj.clone_from(&files.mmproj);
    config.model.mel = config::Mel::LlamaCpp;
    config.answer.temperature = config::Temperature::GREEDY;
    config.answer.max_tokens = Bounded::new(LONGEST).unwrap();
    config.engine.threads = Bounded::new(1).unwrap();
    config.engine.context = Bounded::new(2048).unwrap();
    config.engine.batch = Bounded::new(64).unwrap();
    config
}

fn started(files: &Files) -> (Engine, Config) {
    let config = config(files);
    let engine = Engine::start(&config, None).unwrap();
    engine.load();
    (engine, config)
}

/// A question that may be answered with any token.
fn question(config: &Config, text: &str) -> Request {
    Request {
        text_only: false,
        ..Request::question(&config.answer, text.into())
    }
}

fn reply(config: &Config) -> Request {
    Request {
        text_only: false,
        ..Request::reply(&config.answer)
    }
}

async fn tokens(mut answer: Answer) -> Vec<i32> {
    let mut tokens = Vec::new();
    loop {
        match answer.next().await {
            Event::Text(piece) => tokens.extend(piece.tokens),
            Event::Done(_) => return tokens,
            Event::Failed(error) => panic!("{error}"),
        }
    }
}

/// What the engine answers to `texts`, asked one after the other and then all at once.
async fn asked(engine: &Engine, config: &Config, texts: &[String]) -> Vec<Vec<i32>> {
    let mut answers = Vec::new();
    for text in texts {
        answers.push(tokens(engine.submit(question(config, text)).await.unwrap()).await);
    }
    let mut together = Vec::new();
    for text in texts {
        together.push(engine.submit(question(config, text)).await.unwrap());
    }
    for answer in together {
        answers.push(tokens(answer).await);
    }
    answers
}

/// Has the answers of a text model judged by llama.cpp.
async fn answers_as_llama_cpp(gemma: &Gemma, files: &Files) -> Judged {
    let texts = [
        "how are you".to_owned(),
        long(),
        "and why is that".to_owned(),
    ];
    let (engine, config) = started(files);
    let answers = asked(&engine, &config, &texts).await;
    engine.stop().await;
    let mut judged = Judged::default();
    for (answer, text) in answers.iter().zip(texts.iter().cycle()) {
        judged += Judged::new(gemma, files, Said::Text(text), answer);
    }
    judged
}

/// Sound of this many words.
fn said(words: &str) -> Vec<f32> {
    speech::say(words, "en-us").unwrap()
}

/// Pushes sound as a microphone gives it.
fn push(turn: &Turn, sound: &[f32]) {
    for piece in sound.chunks(512) {
        turn.push(piece.to_vec());
    }
}

/// Has answers to what is heard, at once and piece by piece, judged by llama.cpp.
async fn hears_as_llama_cpp(gemma: &Gemma, files: &Files) -> Judged {
    let (engine, config) = started(files);
    let mut judged = Judged::default();
    for words in ["how are you", "what is the meaning of life"] {
        let sound = said(words);
        let clip = Clip::new(sound.clone()).unwrap();
        let whole = engine.submit(reply(&config).about(clip)).await.unwrap();
        let whole = tokens(whole).await;
        judged += Judged::new(gemma, files, Said::Sound(&sound), &whole);
        let turn = engine.listen("").await.unwrap();
        push(&turn, &sound);
        let streamed = turn.ask([reply(&config)]).await.unwrap();
        for answer in streamed {
            judged += Judged::new(gemma, files, Said::Sound(&sound), &tokens(answer).await);
        }
    }
    engine.stop().await;
    judged
}

/// Why the model does not hear.
async fn deaf(files: &Files) -> String {
    let (engine, config) = started(files);
    let Err(EngineError::Deaf(why)) = engine.listen("").await else {
        panic!("{} hears", files.text.display());
    };
    let clip = Clip::new(said("how are you")).unwrap();
    let refused = engine.submit(reply(&config).about(clip)).await.unwrap_err();
    assert_eq!(refused, EngineError::Deaf(why.clone()));
    engine.stop().await;
    why
}

#[tokio::test]
#[ignore = "needs the files of `cargo xtask shape --sizes`"]
async fn every_size_and_quantisation_answers_as_llama_cpp_does() {
    let mut all = Judged::default();
    let mut table = [[Judged::default(); SIZES.len()]; QUANTISATIONS.len()];
    for (row, quantisation) in table.iter_mut().zip(QUANTISATIONS) {
        for (cell, gemma) in row.iter_mut().zip(&SIZES) {
            *cell = answers_as_llama_cpp(gemma, &Files::of(gemma, quantisation)).await;
            println!("{} {quantisation}: {cell}", gemma.name);
            all += *cell;
        }
    }
    println!("all: {all}");
    assert!(all.ties * 20 <= all.tokens, "{all}");
    table::update(&table::ties(&table));
}

#[tokio::test]
#[ignore = "needs the files of `cargo xtask shape --sizes`"]
async fn a_model_in_several_files_answers_as_llama_cpp_does() {
    for gemma in &SIZES {
        let files = Files::cut(gemma);
        let judged = answers_as_llama_cpp(gemma, &files).await;
        println!("{}: {judged}", gemma.name);
    }
}

#[tokio::test]
#[ignore = "needs the files of `cargo xtask shape --sizes`"]
async fn every_size_that_hears_hears_as_llama_cpp_does() {
    for gemma in SIZES.iter().filter(|gemma| gemma.hears) {
        for projector in PROJECTORS {
            let files = Files::of(gemma, "q4_0").with(gemma, projector);
            let judged = hears_as_llama_cpp(gemma, &files).await;
            println!("{} {projector}: {judged}", gemma.name);
        }
    }
}

#[tokio::test]
#[ignore = "needs the files of `cargo xtask shape --sizes`"]
async fn a_size_that_does_not_hear_says_why() {
    for gemma in SIZES.iter().filter(|gemma| !gemma.hears) {
        let files = Files::of(gemma, "q4_0");
        assert!(deaf(&files).await.contains("mmproj"), "{}", gemma.name);
        if gemma.sees {
            let why = deaf(&files.with(gemma, "f16")).await;
            assert!(why.contains("no audio encoder"), "{why}");
        }
    }
}

#[tokio::test]
#[ignore = "needs the files of `cargo xtask shape --sizes`"]
async fn nothing_is_read_of_the_vision_encoder_in_the_same_file() {
    for gemma in SIZES.iter().filter(|gemma| gemma.hears && gemma.sees) {
        let files = Files::of(gemma, "q4_0").with(gemma, "f16");
        let bytes = fs::read(&files.mmproj).unwrap();
        // The vision encoder lies behind the audio encoder.
        let folder = tempfile::tempdir().unwrap();
        let short: PathBuf = folder.path().join("short.gguf");
        fs::write(&short, &bytes[..bytes.len() - 500_000]).unwrap();
        let sound = said("how are you");
        let mut answers = Vec::new();
        for mmproj in [files.mmproj.clone(), short] {
            let (engine, config) = started(&Files {
                mmproj,
                ..files.clone()
            });
            let clip = Clip::new(sound.clone()).unwrap();
            let answer = engine.submit(reply(&config).about(clip)).await.unwrap();
            answers.push(tokens(answer).await);
        }
        assert_eq!(answers[0], answers[1]);
    }
}

#[tokio::test]
#[ignore = "needs the files of `cargo xtask shape --sizes`"]
async fn a_generation_without_calls_refuses_commands_in_plain_words() {
    let tool = serde_json::json!({
        "type": "function",
        "function": {"name": "stop", "description": "Stop.", "parameters": {"type": "object", "properties": {}}},
    });
    for gemma in &SIZES {
        let (engine, config) = started(&Files::of(gemma, "q4_0"));
        let request = Request {
            preamble: Preamble {
                tools: [tool.clone()].into(),
                ..Preamble::default()
            },
            ..question(&config, "stop")
        };
        let declared = engine.submit(request).await.map(drop);
        let called = Request {
            form: Some(Form::Lark("start: <|tool_call> \"x\" <tool_call|>".into())),
            ..question(&config, "stop")
        };
        let formed = engine.submit(called).await.map(drop);
        let expected = if gemma.calls {
            Ok(())
        } else {
            Err(EngineError::NoTools)
        };
        assert_eq!(declared, expected, "{}", gemma.name);
        assert_eq!(formed, expected, "{}", gemma.name);
        engine.stop().await;
    }
}

#[tokio::test]
#[ignore = "needs the files of `cargo xtask shape --sizes`"]
async fn a_later_part_of_a_model_is_told_from_the_first() {
    let files = Files::cut(&SIZES[0]);
    let first = files.text.to_str().unwrap();
    let text = first.replace("-00001-of-", "-00002-of-").into();
    let (engine, _) = started(&Files { text, ..files });
    let error = engine.listen("").await.unwrap_err();
    assert!(error.to_string().contains("not the first part"), "{error}");
}
