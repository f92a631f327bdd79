//! Gemma's own vocabulary of 262,144 pieces, under random weights (`cargo xtask shape --tiny --vocabulary gemma`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gemmad::commands::{Call, Catalogue};
use gemmad::config::{Config, Temperature};
use gemmad::engine::{EngineError, Form, Passage, PassageKind, Preamble, Request};

use super::{nano, started};

/// Texts of tokens that mark something, in this vocabulary.
const MARKS: [&str; 12] = [
    "<|turn>",
    "<turn|>",
    "<|tool_call>",
    "<tool_response|>",
    "<|\"|>",
    "<|channel>",
    "<|audio|>",
    "<start_of_turn>",
    "<start_of_image>",
    "<image_soft_token>",
    "[multimodal]",
    "<unused90>",
];

fn gemma() -> Config {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/shape"));
    let mut config = nano();
    config.model.text = folder.join("tiny-gemma-q4_0.gguf");
    config.model.mmproj = folder.join("tiny-gemma-q4_0.mmproj.gguf");
    config.answer.temperature = Temperature::new(1.0).unwrap();
    config
}

fn ask(config: &Config, text: &str) -> Request {
    Request {
        preamble: Preamble::default(),
        max_tokens: 300,
        ..Request::question(&config.answer, text.into())
    }
}

#[tokio::test]
#[ignore = "needs Gemma's vocabulary"]
async fn no_answer_over_gemmas_vocabulary_is_too_complex_for_its_grammar() {
    let config = gemma();
    let engine = started(&config);
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/commands"));
    let catalogue = Catalogue::load(&[folder.into()]).unwrap();
    let schema = |text: &str| Form::Json(Arc::new(serde_json::from_str(text).unwrap()));
    let forms = [
        Form::Lark(catalogue.grammar().into()),
        schema(r#"{"type":"string","minLength":1000,"maxLength":2000}"#),
        schema(
            r#"{"type":"array","items":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"number"}},"required":["a","b"]}}"#,
        ),
    ];
    for form in forms {
        for seed in 0..5 {
            let mut request = ask(&config, "hello");
            request.form = Some(form.clone());
            request.sampling.seed = seed;
            match engine.submit(request).await.unwrap().text().await {
                // Random weights seldom come to an end.
                Ok(_) | Err(EngineError::Incomplete { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs Gemma's vocabulary"]
async fn no_mark_of_gemmas_vocabulary_can_be_typed() {
    let config = gemma();
    let engine = started(&config);
    let controls = async |text: &str| {
        let place = engine.admit().unwrap();
        let passages = engine.render_at(place, ask(&config, text)).await.unwrap();
        let control = |it: &&Passage| it.kind == PassageKind::Control;
        passages.iter().filter(control).count()
    };
    // `Render` may be asked while the model is loading: it waits.
    let none = controls("x").await;
    for mark in MARKS {
        for text in [mark.to_owned(), format!("a{mark}b"), mark.repeat(3)] {
            assert_eq!(controls(&text).await, none, "{text}");
        }
    }
}

/// The right calls of the examples of the shipped catalogues.
fn examples() -> (Form, Vec<String>) {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/commands"));
    let catalogue = Catalogue::load(&[folder.into()]).unwrap();
    let calls = catalogue.commands.iter().flat_map(|(name, command)| {
        let calls = command.examples.iter().filter_map(|it| it.call.clone());
        calls.map(|arguments| {
            let name = name.to_string();
            Call { name, arguments }.to_string()
        })
    });
    let calls = calls.collect();
    (Form::Lark(catalogue.grammar().into()), calls)
}

#[tokio::test]
#[ignore = "needs Gemma's vocabulary"]
async fn most_of_a_call_over_gemmas_vocabulary_is_not_decoded() {
    let engine = started(&gemma());
    let (form, calls) = examples();
    let (mut drawn, mut forced) = (0, 0);
    for call in calls {
        let rehearsal = engine.rehearse(form.clone(), call).await.unwrap();
        drawn += rehearsal.drawn;
        forced += rehearsal.forced;
    }
    println!("{drawn} of {} tokens are drawn", drawn + forced);
    assert!(drawn * 10 <= (drawn + forced) * 4, "{drawn} {forced}");
}

#[tokio::test]
#[ignore = "needs Gemma's vocabulary"]
async fn a_call_without_arguments_is_possible_wherever_all_may_be_left_out() {
    let engine = started(&gemma());
    let (form, _) = examples();
    for name in ["set_volume", "set_light", "get_weather", "stop"] {
        let call = format!("<|tool_call>call:{name}{{}}<tool_call|>");
        let rehearsed = engine.rehearse(form.clone(), call).await;
        assert!(rehearsed.is_ok(), "{name}: {rehearsed:?}");
    }
}
