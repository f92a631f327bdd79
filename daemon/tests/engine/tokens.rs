//! Tokens that a model file bars, and tokens that it ends a turn with.

use std::path::PathBuf;
use std::sync::Arc;

use gemmad::config::{Config, Temperature};
use gemmad::engine::{Engine, EngineError, Event, Finish, Form, Request};
use gemmad_testbed::nano as known;
use tempfile::TempDir;

use super::{nano, started};

/// Ids of nano's tokens `<|tool_call>` and `<tool_call|>`.
const CALL: [i32; 2] = [7, 8];

/// Types of values in a GGUF file.
const INT32: u32 = 5;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Length of a GGUF file's head; the number of its keys is its last part.
const HEAD: usize = 24;

/// The nano model in a changed file. It lies in the folder.
struct Changed {
    config: Config,
    _folder: TempDir,
}

impl Changed {
    fn new(change: impl Fn(&mut Vec<u8>)) -> Self {
        let mut config = nano();
        let mut file = std::fs::read(&config.model.text).unwrap();
        change(&mut file);
        let folder = tempfile::tempdir().unwrap();
        config.model.text = folder.path().join("changed.gguf");
        config.model.mmproj = PathBuf::new();
        std::fs::write(&config.model.text, file).unwrap();
        Self {
            config,
            _folder: folder,
        }
    }

    fn barring(tokens: &[i32]) -> Self {
        Self::new(|file| bar(file, tokens))
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// Adds the key that bars `tokens`.
fn bar(file: &mut Vec<u8>, tokens: &[i32]) {
    let mut keys = text("tokenizer.ggml.suppress_tokens");
    keys.extend([ARRAY, INT32].map(u32::to_le_bytes).concat());
    keys.extend((tokens.len() as u64).to_le_bytes());
    keys.extend(tokens.iter().flat_map(|token| token.to_le_bytes()));
    // The tensors begin at a multiple of 32 bytes, and the next key makes the length one.
    keys.extend(text("padding"));
    keys.extend(STRING.to_le_bytes());
    let padding = (32 - (keys.len() + 8) % 32) % 32;
    keys.extend(text(&" ".repeat(padding)));
    let count = u64::from_le_bytes(file[HEAD - 8..HEAD].try_into().unwrap());
    file[HEAD - 8..HEAD].copy_from_slice(&(count + 2).to_le_bytes());
    file.splice(HEAD..HEAD, keys);
}

/// Makes `token` the one that ends a turn.
fn end_turns_with(file: &mut [u8], token: i32) {
    let key = b"tokenizer.ggml.eot_token_id";
    let mut windows = file.windows(key.len());
    let value = windows.position(|it| it == key).unwrap() + key.len() + 4;
    file[value..value + 4].copy_from_slice(&token.to_le_bytes());
}

/// The tokens of an answer, and how it ended.
async fn drawn(engine: &Engine, request: Request) -> Result<(Vec<i32>, Finish), EngineError> {
    let mut answer = engine.submit(request).await?;
    let mut tokens = Vec::new();
    loop {
        match answer.next().await {
            Event::Text(piece) => tokens.extend(piece.tokens),
            Event::Done(stats) => return Ok((tokens, stats.finish)),
            Event::Failed(error) => return Err(error),
        }
    }
}

fn question(config: &Config) -> Request {
    Request::question(&config.answer, known::QUESTION.into())
}

async fn usual() -> Vec<i32> {
    let config = nano();
    let engine = started(&config);
    drawn(&engine, question(&config)).await.unwrap().0
}

#[tokio::test]
async fn a_token_that_the_file_bars_is_never_drawn() {
    let first = usual().await[0];
    let Changed { config, _folder } = &Changed::barring(&[first, CALL[0], first]);
    let engine = started(config);
    for seed in 0..20 {
        let mut request = question(config);
        request.max_tokens = 4;
        request.sampling.seed = seed;
        if seed > 0 {
            request.sampling.temperature = Temperature::new(1.0).unwrap();
        }
        let (tokens, _) = drawn(&engine, request).await.unwrap();
        assert!(!tokens.contains(&first), "{tokens:?}");
    }
}

#[tokio::test]
async fn a_form_that_needs_barred_tokens_fails_with_the_reason() {
    let Changed { config, _folder } = &Changed::barring(&CALL);
    let engine = started(config);
    let [open, close] = ["<|tool_call>", "<tool_call|>"];
    for (grammar, is_possible) in [
        (format!("start: {open} \"a\""), false),
        (format!("start: {open} | {close}"), false),
        (format!("start: {open} | \"a\""), true),
    ] {
        let request = Request {
            form: Some(Form::Lark(Arc::from(grammar.as_str()))),
            ..question(config)
        };
        let answer = drawn(&engine, request).await;
        assert_eq!(answer.is_ok(), is_possible, "{grammar}: {answer:?}");
        if let Err(error) = answer {
            assert_eq!(error, EngineError::Barred, "{grammar}");
        }
    }
}

#[tokio::test]
async fn an_answer_ends_at_each_token_that_the_file_names_for_it() {
    let usual = usual().await;
    let second = usual[1];
    let Changed { config, _folder } = &Changed::new(|file| end_turns_with(file, second));
    let engine = started(config);
    let answer = drawn(&engine, question(config)).await.unwrap();
    assert_eq!(answer, (usual[..1].to_vec(), Finish::Stop));

    // The tokens that Gemma's vocabulary ends a turn with still do.
    let unused = 1500;
    let Changed { config, _folder } = &Changed::new(|file| end_turns_with(file, unused));
    let engine = started(config);
    let answer = drawn(&engine, question(config)).await.unwrap();
    assert_eq!(answer, (usual, Finish::Stop));
}
