//! Questions, typed and about sound files.

use std::path::PathBuf;
use std::time::Instant;

use gemmad::config::{Bounded, Config};
use gemmad::engine::{
    Clip, Engine, EngineError, Event, Finish, Form, Health, Phase, Request, SchemaError,
};
use gemmad_testbed::{nano, speech};

use super::{health_becomes, nano, started};

fn ask(config: &Config, text: &str) -> Request {
    Request::question(&config.answer, text.into())
}

/// A question with an answer of 2000 tokens, or as many as the context holds.
fn long(config: &Config) -> Request {
    let mut request = ask(config, "tell me everything");
    request.max_tokens = 2000;
    request.min_tokens = 2000;
    request
}

fn clip(text: &str) -> std::sync::Arc<Clip> {
    Clip::new(speech::say(text, "en-us").unwrap()).unwrap()
}

#[tokio::test]
async fn a_typed_and_a_spoken_question_get_the_same_answer() {
    let config = nano();
    let engine = started(&config);
    let typed = engine.submit(ask(&config, nano::QUESTION));
    let (text, stats) = typed.await.unwrap().text().await.unwrap();
    assert_eq!((text.as_str(), stats.finish), (nano::ANSWER, Finish::Stop));

    let sound = clip(nano::QUESTION);
    let spoken = Request::reply(&config.answer).about(std::sync::Arc::clone(&sound));
    let (text, stats) = engine.submit(spoken).await.unwrap().text().await.unwrap();
    assert_eq!(text, nano::ANSWER);
    assert!(
        stats.audio_tokens > 20 && !stats.encode.is_zero(),
        "{stats:?}"
    );

    let written = Request::transcript(&config.transcribe, "English").about(sound);
    let (text, _) = engine.submit(written).await.unwrap().text().await.unwrap();
    assert_eq!(text, nano::TRANSCRIPT);
}

#[tokio::test]
async fn an_answer_that_is_text_alone_holds_no_call() {
    let config = nano();
    let engine = started(&config);
    let request = Request {
        text_only: true,
        ..ask(&config, nano::QUESTION)
    };
    let answer = engine.submit(request).await.unwrap();
    let (text, _) = answer.text().await.unwrap();
    assert!(!text.contains(['<', '|', '>']), "{text}");
    assert_ne!(text, "");
}

#[tokio::test]
async fn the_system_prompt_is_prefilled_once_and_shared() {
    let mut config = nano();
    config.answer.system = "You live in a small house and answer briefly. ".repeat(8);
    let engine = started(&config);
    for question in [nano::QUESTION, "what can you do"] {
        let answer = engine.submit(ask(&config, question)).await.unwrap();
        let (_, stats) = answer.text().await.unwrap();
        let prefix = engine.health().prefix_cells;
        assert!(prefix > 100, "{prefix}");
        assert_eq!(stats.cached_tokens, prefix);
        assert!(stats.prompt_tokens - stats.cached_tokens < 20, "{stats:?}");
    }
    let idle = health_becomes(&engine, Health::is_idle).await;
    assert_eq!(idle.cells_used, idle.prefix_cells);
}

#[tokio::test]
async fn a_dropped_answer_gives_its_place_and_its_cells_back() {
    let mut config = nano();
    config.engine.parallel = Bounded::new(1).unwrap();
    config.engine.queue = Bounded::new(1).unwrap();
    let engine = started(&config);
    let mut running = engine.submit(long(&config)).await.unwrap();
    assert!(matches!(running.next().await, Event::Text(_)));
    let waiting = engine.submit(ask(&config, nano::QUESTION)).await.unwrap();
    let refused = engine
        .submit(ask(&config, "one too many"))
        .await
        .unwrap_err();
    assert_eq!(refused, EngineError::Busy { requests: 2 });

    drop(running);
    let (text, _) = waiting.text().await.unwrap();
    assert_eq!(text, nano::ANSWER);
    let idle = health_becomes(&engine, Health::is_idle).await;
    assert_eq!(idle.cells_used, idle.prefix_cells);
    assert_eq!(idle.finished, 2);
    assert!(engine.submit(ask(&config, "again")).await.is_ok());
}

#[tokio::test]
async fn a_request_dropped_while_it_waits_is_never_computed() {
    let mut config = nano();
    config.engine.parallel = Bounded::new(1).unwrap();
    let engine = started(&config);
    let mut running = engine.submit(long(&config)).await.unwrap();
    assert!(matches!(running.next().await, Event::Text(_)));
    drop(engine.submit(ask(&config, "never mind")).await.unwrap());
    let left = health_becomes(&engine, |it| (it.queued, it.finished) == (0, 1)).await;
    assert_eq!(left.active, 1);
}

#[tokio::test]
async fn a_spoken_turn_goes_before_a_long_answer_and_questions_keep_their_order() {
    let mut config = nano();
    config.engine.parallel = Bounded::new(1).unwrap();
    let engine = started(&config);
    let mut long_answer = engine.submit(long(&config)).await.unwrap();
    assert!(matches!(long_answer.next().await, Event::Text(_)));
    let second = engine
        .submit(ask(&config, "what can you do"))
        .await
        .unwrap();
    let turn = engine.listen("").await.unwrap();
    turn.push(speech::say(nano::QUESTION, "en-us").unwrap());
    let spoken = Request::reply(&config.answer).heard(Instant::now());
    let spoken = turn.ask([spoken]).await.unwrap().remove(0);
    drop(turn);
    let (text, stats) = spoken.text().await.unwrap();
    assert_eq!(text, nano::ANSWER);
    assert!(stats.speech_to_token.is_some());
    // The long answer still runs and the second question still waits: the spoken turn waited for neither.
    health_becomes(&engine, |health| (health.active, health.queued) == (1, 1)).await;

    let (order, mut orders) = tokio::sync::mpsc::unbounded_channel();
    for (name, answer) in [("long", long_answer), ("second", second)] {
        let order = order.clone();
        tokio::spawn(async move {
            answer.text().await.unwrap();
            order.send(name).unwrap();
        });
    }
    assert_eq!(orders.recv().await, Some("long"));
    assert_eq!(orders.recv().await, Some("second"));
}

#[tokio::test]
async fn answers_made_side_by_side_are_those_made_alone() {
    let config = nano();
    let engine = started(&config);
    let questions = [
        nano::QUESTION,
        "what can you do",
        "set a timer for ten minutes",
    ];
    let mut alone = Vec::new();
    for question in questions {
        let answer = engine.submit(ask(&config, question)).await.unwrap();
        alone.push(answer.text().await.unwrap().0);
    }
    let together = questions.map(|question| {
        let (engine, request) = (engine.clone(), ask(&config, question));
        tokio::spawn(async move {
            engine
                .submit(request)
                .await
                .unwrap()
                .text()
                .await
                .unwrap()
                .0
        })
    });
    for (answer, expected) in together.into_iter().zip(alone) {
        assert_eq!(answer.await.unwrap(), expected);
    }
}

#[tokio::test]
async fn typed_control_tokens_are_words_not_control() {
    let config = nano();
    let engine = started(&config);
    let rows = |request| async {
        let answer = engine.submit(request).await.unwrap();
        answer.text().await.unwrap().1.prompt_tokens
    };
    let empty = rows(ask(&config, "x")).await;
    for hostile in [
        "<turn|>",
        "<|turn>",
        "<|tool_call>",
        "<|channel>",
        "<|\"|>",
        "<|audio>",
    ] {
        let typed = rows(ask(&config, hostile)).await;
        assert!(typed > empty, "{hostile} became one token");
    }
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_by_name() {
    let mut config = nano();
    config.engine.context = Bounded::new(512).unwrap();
    config.engine.longest_question = Bounded::new(256).unwrap();
    let engine = started(&config);
    let refused = |request| async { engine.submit(request).await.map(|_| ()).unwrap_err() };
    assert_eq!(
        refused(ask(&config, " \n\t ")).await,
        EngineError::EmptyPrompt
    );
    let endless = ask(&config, &"many words ".repeat(1000));
    assert!(matches!(
        refused(endless).await,
        EngineError::PromptTooLong {
            rows: 384..,
            capacity: 384
        }
    ));

    config.model.mmproj = PathBuf::new();
    let deaf = started(&config);
    let spoken = Request::reply(&config.answer).about(clip("hello"));
    assert!(matches!(
        deaf.submit(spoken).await,
        Err(EngineError::Deaf(_))
    ));
    assert!(matches!(deaf.listen("").await, Err(EngineError::Deaf(_))));
}

#[tokio::test]
async fn a_text_that_never_fits_is_refused_before_the_model_is_loaded() {
    let mut config = nano();
    config.engine.context = Bounded::new(512).unwrap();
    config.engine.longest_question = Bounded::new(512).unwrap();
    // Never told to load its model.
    let engine = Engine::start(&config, None).unwrap();
    let (most, bytes) = (512 * 32, 30 << 20);
    let long = "a".repeat(bytes);
    let refused = engine.submit(ask(&config, &long)).await.unwrap_err();
    let what = "prompt";
    assert_eq!(refused, EngineError::TextTooLong { what, bytes, most });
    let mut request = ask(&config, "hello");
    request.preamble.system = Some(long.clone());
    let refused = engine.submit(request).await.unwrap_err();
    let what = "system prompt";
    assert_eq!(refused, EngineError::TextTooLong { what, bytes, most });
    assert!(engine.listen(long.as_str()).await.is_err());
    assert!(matches!(
        Form::schema(&long),
        Err(EngineError::Schema(SchemaError::TooLong { .. }))
    ));
    engine.stop().await;
}

#[tokio::test]
async fn max_tokens_and_the_context_end_an_answer_with_length() {
    let mut config = nano();
    config.engine.context = Bounded::new(256).unwrap();
    let engine = started(&config);
    let mut short = ask(&config, nano::QUESTION);
    short.max_tokens = 3;
    let (text, stats) = engine.submit(short).await.unwrap().text().await.unwrap();
    assert!(nano::ANSWER.starts_with(&text));
    assert_eq!((stats.output_tokens, stats.finish), (3, Finish::Length));

    let (_, stats) = engine
        .submit(long(&config))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(stats.finish, Finish::Length);
    // A quarter of the 256 cells is reserved for speech.
    assert_eq!(stats.prompt_tokens + stats.output_tokens, 192);
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(&nano().model.text).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    // Other chat templates of the same length.
    let with = |old: &str, new: &str| {
        let mut bytes = whole.clone();
        let mut windows = bytes.windows(old.len());
        let at = windows.position(|it| it == old.as_bytes()).unwrap();
        bytes[at..at + old.len()].copy_from_slice(new.as_bytes());
        bytes
    };
    let silent = with("else message['content']", "else message['nothing']");
    let lacking = with("items | dictsort", "items | quickest");
    // A pipe without a writer.
    let pipe = folder.path().join("pipe.gguf");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    let cases = [
        (folder.path().join("missing.gguf"), "No such file"),
        (write("empty.gguf", b""), "is not a GGUF file"),
        (
            write("text.gguf", b"Dear model, please load."),
            "is not a GGUF file",
        ),
        (write("header.gguf", &whole[..100]), "damaged or cut short"),
        (
            write("cut.gguf", &whole[..whole.len() / 2]),
            "damaged or cut short",
        ),
        (
            nano().model.mmproj,
            "[model] text needs a text model of Gemma",
        ),
        (
            write("silent.gguf", &silent),
            "it leaves out what the person says",
        ),
        (
            write("lacking.gguf", &lacking),
            "it needs the filter `quickest`",
        ),
        (folder.path().to_path_buf(), "is a directory"),
        (pipe, "is a pipe"),
        ("/dev/zero".into(), "is a device"),
    ];
    for (path, reason) in cases {
        let mut config = nano();
        config.model.text.clone_from(&path);
        let engine = started(&config);
        let failed = engine.submit(ask(&config, "hello")).await.unwrap_err();
        let EngineError::ModelNotLoaded(why) = &failed else {
            panic!("{failed:?}");
        };
        assert!(why.contains(reason), "{}: {why}", path.display());
        assert!(matches!(&*engine.phase().borrow(), Phase::Failed(_)));
        engine.stop().await;
    }
}

#[tokio::test]
async fn a_projector_that_does_not_fit_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(nano().model.mmproj).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    // Rows of 1536, as E2B's projector declares.
    let mut wider = whole.clone();
    let key = b"clip.audio.projection_dim";
    let at = wider.windows(key.len()).position(|w| w == key).unwrap() + key.len();
    assert_eq!(wider[at..at + 8], [4, 0, 0, 0, 160, 0, 0, 0]);
    wider[at + 4..at + 8].copy_from_slice(&1536_u32.to_le_bytes());
    let cases = [
        (nano().model.text, "[model] mmproj needs"),
        (write("other.gguf", &wider), "belong to different models"),
        (write("header.gguf", &whole[..200]), "damaged or cut short"),
        (write("cut.gguf", &whole[..whole.len() / 2]), "cannot load"),
        (folder.path().join("missing.gguf"), "No such file"),
    ];
    for (path, reason) in cases {
        let mut config = nano();
        config.model.mmproj.clone_from(&path);
        let engine = started(&config);
        let failed = engine.submit(ask(&config, "hello")).await.unwrap_err();
        let EngineError::ModelNotLoaded(why) = &failed else {
            panic!("{failed:?}");
        };
        assert!(why.contains(reason), "{}: {why}", path.display());
    }
}

#[tokio::test]
async fn a_model_whose_projector_is_for_pictures_answers_text_and_says_why_it_hears_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut pictures = std::fs::read(nano().model.mmproj).unwrap();
    let key = b"clip.audio.projector_type";
    let at = pictures
        .windows(key.len())
        .position(|it| it == key)
        .unwrap();
    // A key that means nothing, of the same length.
    pictures[at..at + key.len()].fill(b'x');
    let mut config = nano();
    config.model.mmproj = folder.path().join("pictures.gguf");
    std::fs::write(&config.model.mmproj, pictures).unwrap();
    let engine = started(&config);
    let answer = engine.submit(ask(&config, "hello")).await.unwrap();
    answer.text().await.unwrap();
    let heard = ask(&config, "hello").about(clip("hello"));
    let refused = engine.submit(heard).await.unwrap_err();
    assert!(
        matches!(&refused, EngineError::Deaf(why) if why.contains("no audio encoder")),
        "{refused}"
    );
}

#[tokio::test]
async fn damaged_weights_give_no_answer_no_call_and_no_transcript() {
    let folder = tempfile::tempdir().unwrap();
    // Not a number, in each format of the weights.
    let damaged = |path: PathBuf, name: &str| {
        let mut bytes = std::fs::read(path).unwrap();
        let tail = bytes.len() - bytes.len() / 4;
        bytes[tail..].fill(0xFF);
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let mut text = nano();
    text.model.text = damaged(text.model.text, "text.gguf");
    let mut projector = nano();
    projector.model.mmproj = damaged(projector.model.mmproj, "mmproj.gguf");
    let form = Form::schema(r#"{"type":"array","items":{"enum":["left","right"]}}"#).unwrap();
    for (config, is_typed) in [(text, true), (projector, false)] {
        let engine = started(&config);
        let question = |request: Request| {
            if is_typed {
                request
            } else {
                request.about(clip("turn left"))
            }
        };
        let mut held = question(ask(&config, "turn left"));
        held.form = Some(form.clone());
        for request in [question(ask(&config, "turn left")), held] {
            let answer = engine.submit(request).await.unwrap();
            assert_eq!(answer.text().await.unwrap_err(), EngineError::NoNumbers);
        }
    }
}

#[tokio::test]
async fn stopping_ends_loading_and_what_is_being_computed() {
    let mut config = nano();
    config.engine.context = Bounded::new(8192).unwrap();
    config.engine.batch = Bounded::new(4096).unwrap();
    config.answer.system = "word ".repeat(6000);
    let engine = started(&config);
    let mut phase = engine.phase();
    // At 100 % all weights are loaded, and one batch of thousands of rows is being computed.
    let loaded = phase.wait_for(|phase| matches!(phase, Phase::Loading(100)));
    loaded.await.unwrap();
    let asked = Instant::now();
    engine.stop().await;
    assert!(asked.elapsed().as_millis() < 500, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn stopping_ends_a_long_answer_at_once() {
    let config = nano();
    let engine = started(&config);
    let mut answer = engine.submit(long(&config)).await.unwrap();
    assert!(matches!(answer.next().await, Event::Text(_)));
    engine.stop().await;
    loop {
        match answer.next().await {
            Event::Text(_) => {}
            end => break assert_eq!(end, Event::Failed(EngineError::Stopping)),
        }
    }
}
