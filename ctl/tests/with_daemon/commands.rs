//! `gemmactl command` and `gemmactl commands`.

use std::path::Path;

use gemmad_testbed::{Bus, Daemon};

use crate::gemmactl::Gemmactl;

async fn daemon(bus: &Bus) -> Daemon {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/commands");
    Daemon::setup(bus)
        .commands(Path::new(folder))
        .start()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_command_is_shown_with_what_became_of_it_and_its_exit_code() {
    let bus = Bus::start().await.unwrap();
    let daemon = daemon(&bus).await;
    let light = "set_light {\"room\":\"kitchen\",\"state\":\"on\"}";
    for (arguments, code, said) in [
        (&["command", "turn on", "the kitchen light"][..], 0, format!("{light}\n")),
        (&["command", "--dry-run", "turn on the kitchen light"], 0, format!("{light} (dry-run)\n")),
        (&["command", "how are you"], 5, "I am fine, thank you.\n".into()),
        (&["command", "turn on the light"], 5, "In which room?\n".into()),
        (
            &["command", "call Anna"],
            5,
            "call_contact {\"contact\":\"Anna\"} (unconfirmed)\ncall_contact {\"contact\":\"Anna\"} (refused)\n".into(),
        ),
        (
            &["command", "--yes", "call Anna"],
            0,
            "call_contact {\"contact\":\"Anna\"} (unconfirmed)\ncall_contact {\"contact\":\"Anna\"}\n".into(),
        ),
    ] {
        let ended = Gemmactl::run(&daemon, arguments).await;
        assert_eq!((ended.code, ended.stdout), (Some(code), said), "{arguments:?} {}", ended.stderr);
    }
    let halted = Gemmactl::run(&daemon, &["halt"]).await;
    assert_eq!(
        (halted.code, halted.stdout.as_str()),
        (Some(0), "stop {}\n")
    );
    let json = Gemmactl::run(&daemon, &["command", "--json", "how are you"]).await;
    assert!(
        json.stdout
            .starts_with("{\"outcome\":\"nothing\",\"text\":\"I am fine"),
        "{}",
        json.stdout
    );
}

#[tokio::test]
async fn a_question_that_asks_for_a_command_has_it_carried_out_if_commands_are_wanted() {
    let bus = Bus::start().await.unwrap();
    let daemon = daemon(&bus).await;
    for (arguments, said) in [
        (
            &["ask", "--commands", "turn on the kitchen light"][..],
            (0, "Lights on, kitchen.\n"),
        ),
        (
            &["ask", "--commands", "how are you"],
            (0, "I am fine, thank you.\n"),
        ),
        (
            &["ask", "--commands", "turn on the light"],
            (0, "In which room?\n"),
        ),
        (
            &["ask", "--commands", "lock the front door"],
            (5, "Did you mean: set lock, door front, state locked?\n"),
        ),
    ] {
        let ended = Gemmactl::run(&daemon, arguments).await;
        let outcome = (ended.code.unwrap(), ended.stdout.as_str());
        assert_eq!(outcome, said, "{arguments:?} {}", ended.stderr);
    }
    // Nobody has typed it at a terminal, so it may be the words of a stranger.
    let ended = Gemmactl::run(&daemon, &["ask", "turn on the kitchen light"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stdout.contains("Lights on"), "{}", ended.stdout);
    let ended = Gemmactl::run(&daemon, &["ask", "--commands", "--think", "go"]).await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
}

#[tokio::test]
async fn where_commands_are_switched_off_a_question_that_wants_them_says_so() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let ended = Gemmactl::run(&daemon, &["ask", "--commands", "turn on the kitchen light"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stdout.contains('<'), "{}", ended.stdout);
    let stderr = ended.stderr;
    assert!(stderr.contains("commands are switched off"), "{stderr}");
}

#[tokio::test]
async fn a_catalogue_is_listed_checked_and_tested() {
    let bus = Bus::start().await.unwrap();
    let daemon = daemon(&bus).await;
    let listed = Gemmactl::run(&daemon, &["commands", "list"]).await;
    assert!(listed.stdout.contains("dock"), "{}", listed.stdout);

    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let broken = write("broken.toml", "[commands.dance]\n\ndescription = 3\n");
    let checked = Gemmactl::run(&daemon, &["commands", "check", &broken]).await;
    assert_eq!(checked.code, Some(4));
    assert!(
        checked
            .stderr
            .contains("broken.toml:3: commands.dance.description"),
        "{}",
        checked.stderr
    );
    let robot = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/commands/robot.toml");
    let robot = robot.display().to_string();
    let checked = Gemmactl::run(&daemon, &["commands", "check", &robot]).await;
    assert!(checked.stdout.contains("no mistakes"), "{}", checked.stdout);

    // Several files at once: every mistake is reported, and the files form one catalogue.
    let first = write("first.toml", "[commands.dance]\ndescription = \"Dance.\"\n");
    let twice = write("twice.toml", "[commands.dance]\ndescription = \"Dance.\"\n");
    let checked = Gemmactl::run(&daemon, &["commands", "check", &broken, &first, &twice]).await;
    assert_eq!(checked.code, Some(4));
    assert!(
        checked
            .stdout
            .contains("first.toml: 1 command, no mistakes"),
        "{}",
        checked.stdout
    );
    for mistake in [
        "broken.toml:3: commands.dance.description",
        "twice.toml: there is a command dance in",
    ] {
        assert!(checked.stderr.contains(mistake), "{}", checked.stderr);
    }
    let folder_name = folder.path().display().to_string();
    let whole = Gemmactl::run(&daemon, &["commands", "check", &folder_name]).await;
    assert_eq!(whole.stderr, checked.stderr);
    assert_eq!(whole.stdout, checked.stdout);

    let one = write("one.toml", "");
    std::fs::write(&one, b"# fine\n# caf\xe9\n").unwrap();
    let checked = Gemmactl::run(&daemon, &["commands", "check", &one]).await;
    assert_eq!(checked.code, Some(2));
    assert!(
        checked.stderr.contains("one.toml:2:6: not UTF-8"),
        "{}",
        checked.stderr
    );

    // Examples that the nano model does not understand do not fail this test; gemmactl shows them.
    let tested = Gemmactl::run(&daemon, &["commands", "test", &robot]).await;
    assert!(
        [Some(0), Some(5)].contains(&tested.code),
        "{}",
        tested.stderr
    );
    assert!(
        tested.stdout.contains("examples right"),
        "{}",
        tested.stdout
    );
    let strange = write(
        "strange.toml",
        "[commands.dance]\ndescription = \"Dance.\"\n",
    );
    let refused = Gemmactl::run(&daemon, &["commands", "test", &strange]).await;
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("dance not in force"),
        "{}",
        refused.stderr
    );
}

#[tokio::test]
async fn an_answer_to_a_schema_is_json_and_a_useless_schema_is_refused() {
    let bus = Bus::start().await.unwrap();
    let daemon = daemon(&bus).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("schema.json");
    let schema = path.display().to_string();
    let ask = ["ask", "Hello", "--schema", &schema];
    let missing = Gemmactl::run(&daemon, &ask).await;
    assert_eq!(missing.code, Some(2), "{}", missing.stderr);
    std::fs::write(&path, r#"{"enum": ["yes", "no"]}"#).unwrap();
    let answered = Gemmactl::run(&daemon, &ask).await;
    assert!(
        ["\"yes\"\n", "\"no\"\n"].contains(&answered.stdout.as_str()),
        "{answered:?}"
    );
    std::fs::write(&path, r#"{"type": "colour"}"#).unwrap();
    let refused = Gemmactl::run(&daemon, &ask).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(4), ""));
}
