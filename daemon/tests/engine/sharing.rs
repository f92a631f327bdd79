//! Rows in the KV cache that requests share: with a kept prefix, and with what was asked before.

use std::collections::HashMap;

use gemmad::config::{Bounded, Config};
use gemmad::engine::{Engine, Kept, Message, Preamble, Request, Stats};
use gemmad_testbed::nano::SAID;

use super::{nano, started};

const SYSTEM: &str = "You live in a small house with many rooms, and answer briefly and politely.";

/// A question of `owner` after these messages.
fn ask(config: &Config, owner: &str, history: &[Message], text: &str) -> Request {
    let mut request = Request::question(&config.answer, text.into());
    request.preamble.history = history.to_vec();
    request.owner = Some(owner.into());
    request.max_tokens = 40;
    request
}

async fn answer(engine: &Engine, request: Request) -> (String, Stats) {
    engine.submit(request).await.unwrap().text().await.unwrap()
}

/// A conversation of ten turns; its answers, and the statistics of each.
async fn converse(engine: &Engine, config: &Config, owner: &str) -> (Vec<String>, Vec<Stats>) {
    let (mut history, mut answers, mut all) = (vec![], vec![], vec![]);
    for text in SAID {
        let (said, stats) = answer(engine, ask(config, owner, &history, text)).await;
        history.push(Message::User(text.into()));
        history.push(Message::assistant(said.clone()));
        answers.push(said);
        all.push(stats);
    }
    (answers, all)
}

/// The share of prompt rows that were computed.
fn computed(stats: &[Stats]) -> f64 {
    let rows = |of: fn(&Stats) -> u32| stats.iter().map(of).sum::<u32>();
    f64::from(rows(|it| it.prompt_tokens - it.cached_tokens))
        / f64::from(rows(|it| it.prompt_tokens))
}

#[tokio::test]
async fn a_conversation_that_is_sent_again_is_hardly_read_again() {
    let config = nano();
    let engine = started(&config);
    let (first, stats) = converse(&engine, &config, "ada").await;
    // Each turn reads only what came after the one before.
    assert!(computed(&stats) < 0.5, "{}", computed(&stats));
    let (second, stats) = converse(&engine, &config, "ada").await;
    assert!(computed(&stats) <= 0.15, "{}", computed(&stats));
    assert_eq!(first, second);
}

#[tokio::test]
async fn the_rows_of_one_user_are_not_shared_with_another() {
    let config = nano();
    let engine = started(&config);
    converse(&engine, &config, "ada").await;
    let (_, stats) = converse(&engine, &config, "bob").await;
    assert_eq!(stats[0].cached_tokens, engine.health().prefix_cells);
}

/// The answers of engines that share nothing.
struct Reference {
    config: Config,
    engine: Engine,
    known: HashMap<String, String>,
}

impl Reference {
    async fn answer(&mut self, request: &Request) -> String {
        let key = format!("{:?} {:?}", request.preamble, request.question);
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let alone = Request {
            owner: None,
            ..request.clone()
        };
        let (text, _) = answer(&self.engine, alone).await;
        self.known.insert(key, text.clone());
        text
    }
}

/// Requests of three users, up to five at a time, some of which begin alike, while kept prefixes are swapped and the
/// cache is too small for all of it.
#[tokio::test]
async fn answers_are_those_of_an_empty_cache_whatever_is_shared_swapped_and_given_up() {
    let mut config = nano();
    config.engine.parallel = Bounded::new(5).unwrap();
    config.engine.context = Bounded::new(1536).unwrap();
    let engine = started(&config);
    config.answer.system.clear();
    let mut reference = Reference {
        engine: started(&config),
        config,
        known: HashMap::new(),
    };
    // Xorshift (Marsaglia 2003), so that a failure can be repeated.
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut pick = |most: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 33).unwrap() % most
    };
    let (mut shared, mut asked) = (0, 0);
    for _ in 0..120 {
        if pick(4) == 0 {
            let system = SYSTEM.repeat(1 + pick(3));
            let kept = [Kept::Answers, Kept::Commands][pick(2)];
            engine.keep(kept, Some(&system.as_str().into()));
        }
        let mut requests = vec![];
        for _ in 0..=pick(5) {
            let turns = pick(4);
            let first = pick(SAID.len());
            let history = (0..2 * turns).map(|nth| {
                let text = SAID[(first + nth) % SAID.len()].to_owned();
                if nth % 2 == 0 {
                    Message::User(text)
                } else {
                    Message::assistant(text)
                }
            });
            let history: Vec<_> = history.collect();
            let owner = ["ada", "bob", "eve"][pick(3)];
            let mut request = ask(&reference.config, owner, &history, SAID[pick(SAID.len())]);
            let system = SYSTEM.repeat(pick(4));
            request.preamble = Preamble {
                history,
                ..system.as_str().into()
            };
            requests.push(request);
        }
        let answers = requests.iter().map(|request| {
            let (engine, request) = (engine.clone(), request.clone());
            tokio::spawn(async move { answer(&engine, request).await })
        });
        let answers: Vec<_> = answers.collect();
        for (request, answer) in requests.iter().zip(answers) {
            let (text, stats) = answer.await.unwrap();
            assert_eq!(text, reference.answer(request).await, "{request:?}");
            shared += u32::from(stats.cached_tokens > 20);
            asked += 1;
        }
    }
    // Much is shared, but not all.
    assert!(shared * 2 > asked && shared < asked, "{shared} of {asked}");
}

#[tokio::test]
async fn what_was_read_ahead_is_there_for_its_owner_and_changes_no_answer() {
    let config = nano();
    let history = [
        Message::User(SAID[0].into()),
        Message::assistant("It is done, as you said.".into()),
    ];
    let preamble = Preamble {
        history: history.to_vec(),
        ..config.answer.system.as_str().into()
    };
    let engine = started(&config);
    engine.loaded().await.unwrap();
    engine.read_ahead(preamble, "ada".into()).await.unwrap();
    let (said, stats) = answer(&engine, ask(&config, "ada", &history, SAID[1])).await;
    let asked = stats.prompt_tokens - stats.cached_tokens;
    let (of_another, stats) = answer(&engine, ask(&config, "bob", &history, SAID[1])).await;
    assert_eq!(said, of_another);
    assert!(
        stats.prompt_tokens - stats.cached_tokens > asked + 10,
        "{stats:?}"
    );
    engine.stop().await;
}
