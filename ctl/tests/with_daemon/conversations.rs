//! `gemmactl ask --conversation`, `gemmactl chat` and `gemmactl conversations`.

use gemmad_testbed::{Bus, Daemon};

use crate::{ANSWER, QUESTION, gemmactl::Gemmactl};

#[tokio::test]
async fn a_conversation_is_begun_gone_on_with_listed_shown_and_forgotten() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let run = async |arguments: &[&str]| Gemmactl::run(&daemon, arguments).await;
    let asked = run(&["ask", "--conversation", "garden", QUESTION]).await;
    assert_eq!((asked.code, &*asked.stdout), (Some(0), ANSWER.as_str()));
    let asked = run(&["ask", "-c", "what is the name of my dog?"]).await;
    assert_eq!(asked.code, Some(0), "{asked:?}");
    let prompt = run(&["ask", "-c", "--show-prompt", "and then?"]).await;
    assert!(prompt.stdout.contains("my dog"), "{prompt:?}");

    let listed = run(&["conversations", "list"]).await;
    assert_eq!(listed.stdout, "garden  2 questions, just now\n");
    let shown = run(&["conversations", "show", "garden"]).await;
    let begins = format!("> {QUESTION}\n{}\n\n> what is", ANSWER.trim_end());
    assert!(shown.stdout.starts_with(&begins), "{shown:?}");
    let json = run(&["conversations", "show", "garden", "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json[0]["role"], "user");

    let forgotten = run(&["conversations", "forget", "garden"]).await;
    assert_eq!((forgotten.code, &*forgotten.stdout), (Some(0), ""));
    let again = run(&["conversations", "forget", "garden"]).await;
    assert_eq!(again.code, Some(4), "{again:?}");
    let all = run(&["conversations", "forget", "--all"]).await;
    assert_eq!(all.stdout, "0 conversations forgotten\n");
}

#[tokio::test]
async fn a_chat_reads_a_question_from_each_line_and_remembers() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved.txt");
    let input = format!(
        "{QUESTION}\n\n/nonsense\nwhat is the name of my dog?\n/save {}\n/reset\n{QUESTION}\n",
        saved.display()
    );
    let chat = Gemmactl::run_with(&daemon, &["chat"], input.as_bytes()).await;
    assert_eq!(chat.code, Some(0), "{chat:?}");
    assert_eq!(chat.stdout.matches(ANSWER.as_str()).count(), 2, "{chat:?}");
    assert!(chat.stderr.contains("/nonsense is unknown"), "{chat:?}");
    let saved = std::fs::read_to_string(saved).unwrap();
    assert!(saved.starts_with(&format!("> {QUESTION}\n")), "{saved}");
    assert!(saved.contains("> what is the name of my dog?\n"), "{saved}");
    let listed = Gemmactl::run(&daemon, &["conversations", "list"]).await;
    assert!(
        listed.stdout.ends_with("  1 question, just now\n"),
        "{listed:?}"
    );
    // Another chat begins another conversation, unless it goes on with the last.
    let input = format!("{QUESTION}\n");
    Gemmactl::run_with(&daemon, &["chat"], input.as_bytes()).await;
    Gemmactl::run_with(&daemon, &["chat", "-c"], input.as_bytes()).await;
    let listed = Gemmactl::run(&daemon, &["conversations", "list"]).await;
    let counts: Vec<_> = listed
        .stdout
        .lines()
        .filter_map(|it| it.split_once("  "))
        .collect();
    let counts: Vec<_> = counts.iter().map(|(_, it)| *it).collect();
    assert_eq!(counts, ["2 questions, just now", "1 question, just now"]);
}

#[tokio::test]
async fn a_question_that_fails_does_not_end_the_chat() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let long = "word ".repeat(100_000);
    let input = [
        long.as_bytes(),
        b"\nno \xff text\na NUL \0\n",
        QUESTION.as_bytes(),
        b"\n",
    ]
    .concat();
    let chat = Gemmactl::run_with(&daemon, &["chat"], &input).await;
    assert_eq!(chat.code, Some(0));
    for why in ["tokens", "no UTF-8", "NUL"] {
        assert!(chat.stderr.contains(why), "{why}: {}", chat.stderr);
    }
    assert!(chat.stdout.contains(ANSWER.as_str()), "{}", chat.stdout);
}
