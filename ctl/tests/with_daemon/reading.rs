//! Input of `gemmactl` from standard input and files.

use std::{
    io::{Seek, Write},
    path::{Path, PathBuf},
    process::Stdio,
};

use gemmad_testbed::{Bus, Daemon, nano, speech};
use rustix::{fs::Mode, process::Signal};
use tempfile::{TempDir, tempfile};

use crate::{
    ANSWER, COMMAND, QUESTION,
    asking::text,
    gemmactl::{Ended, Gemmactl},
};

#[tokio::test]
async fn the_question_may_come_from_a_pipe() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    for arguments in [&["ask"][..], &["ask", "-"]] {
        let input = format!("{QUESTION}\n");
        let asked = Gemmactl::run_with(&daemon, arguments, input.as_bytes()).await;
        assert_eq!(
            (asked.code, &*asked.stdout, &*asked.stderr),
            (Some(0), ANSWER.as_str(), "")
        );
    }
    let both = Gemmactl::run_with(&daemon, &["ask", "--json", QUESTION, "-"], b"please").await;
    let apart = Gemmactl::run(
        &daemon,
        &["ask", "--json", &format!("{QUESTION}\n\nplease")],
    )
    .await;
    assert_eq!(text(&both.stdout), text(&apart.stdout));
}

#[tokio::test]
async fn a_loop_over_standard_input_keeps_its_lines() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus)
        .commands(&catalogues())
        .start()
        .await
        .unwrap();
    let lines = format!("{COMMAND}\n").repeat(3);
    for arguments in [
        "ask \"$q\"",
        "command --dry-run \"$q\"",
        "ask --audio \"$SOUND\"",
    ] {
        let script =
            format!("while read q; do \"$GEMMACTL\" --session {arguments} || exit 1; done");
        let (_folder, sound) = recording();
        let mut list = tempfile().unwrap();
        list.write_all(lines.as_bytes()).unwrap();
        list.rewind().unwrap();
        let mut command = daemon.gemmactl().unwrap();
        let program = command.get_program().to_owned();
        command.env("GEMMACTL", program).env("SOUND", sound);
        let done = script_of(&command, &script, list).await;
        assert_eq!(done.code, Some(0), "{arguments}: {done:?}");
        assert_eq!(done.stdout.lines().count(), 3, "{arguments}: {done:?}");
        assert_eq!(done.stderr, "", "{arguments}");
    }
}

/// Runs `script` in the environment of `command`.
async fn script_of(
    command: &std::process::Command,
    script: &str,
    input: impl Into<Stdio>,
) -> Ended {
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(script);
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    Gemmactl::of_with(shell, &[], input).end().await
}

#[tokio::test]
async fn a_pipe_that_nobody_ends_holds_nothing_up() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus)
        .commands(&catalogues())
        .start()
        .await
        .unwrap();
    for arguments in [&["command", "--dry-run", COMMAND][..], &["ask", QUESTION]] {
        let (_open, input) = pipe();
        let done = Gemmactl::start_with(&daemon, arguments, input).end().await;
        assert_eq!((done.code, &*done.stderr), (Some(0), ""), "{done:?}");
    }
}

#[tokio::test]
async fn input_that_is_not_read_is_told() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let (mut writer, input) = pipe();
    writer.write_all(b"please").unwrap();
    let asked = Gemmactl::start_with(&daemon, &["ask", QUESTION], input);
    let asked = asked.end().await;
    assert_eq!((asked.code, &*asked.stdout), (Some(0), ANSWER.as_str()));
    assert!(asked.stderr.contains("was not read"), "{asked:?}");
    assert!(asked.stderr.contains("`-`"), "{asked:?}");
}

#[tokio::test]
async fn only_one_thing_is_read_from_standard_input() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    for arguments in [
        &["ask", "-", "--audio", "-"][..],
        &["ask", "--schema", "-"],
        &["ask", "What?", "--schema", "-", "--audio", "-"],
    ] {
        let refused = Gemmactl::run(&daemon, arguments).await;
        assert_eq!((refused.code, &*refused.stdout), (Some(2), ""));
        assert!(refused.stderr.contains("for one of"), "{refused:?}");
    }
}

#[tokio::test]
async fn sound_may_come_from_a_pipe_a_file_or_a_named_pipe() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let (folder, sound) = recording();
    let bytes = std::fs::read(&sound).unwrap();
    let text = format!("{}\n", nano::TRANSCRIPT);
    let expected = (Some(0), text.as_str(), "");

    let piped = Gemmactl::run_with(&daemon, &["transcribe", "-"], &bytes).await;
    assert_eq!((piped.code, &*piped.stdout, &*piped.stderr), expected);
    let input = std::fs::File::open(&sound).unwrap();
    let redirected = Gemmactl::start_with(&daemon, &["transcribe", "-"], input);
    let redirected = redirected.end().await;
    assert_eq!((redirected.code, &*redirected.stdout), (Some(0), &*text));

    let fifo = named_pipe(folder.path());
    let writer = write_into(&fifo, bytes.clone());
    let path = fifo.to_str().unwrap();
    let named = Gemmactl::run(&daemon, &["transcribe", path]).await;
    assert_eq!((named.code, &*named.stdout, &*named.stderr), expected);
    writer.join().unwrap();
    let writer = write_into(&fifo, bytes);
    let asked = Gemmactl::run(&daemon, &["ask", "--audio", path]).await;
    assert_eq!((asked.code, &*asked.stdout), (Some(0), ANSWER.as_str()));
    writer.join().unwrap();
}

#[tokio::test]
async fn a_schema_may_begin_with_a_byte_order_mark_or_come_from_a_named_pipe() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let schema = "\u{FEFF}{\"enum\": [\"yes\"]}".as_bytes().to_vec();
    let file = folder.path().join("schema.json");
    std::fs::write(&file, &schema).unwrap();
    let fifo = named_pipe(folder.path());
    let writer = write_into(&fifo, schema.clone());
    for path in [&file, &fifo] {
        let path = path.to_str().unwrap();
        let asked = Gemmactl::run(&daemon, &["ask", "Hello", "--schema", path]).await;
        assert_eq!(
            (asked.code, &*asked.stdout),
            (Some(0), "\"yes\"\n"),
            "{asked:?}"
        );
    }
    writer.join().unwrap();
    let asked = Gemmactl::run_with(&daemon, &["ask", "Hello", "--schema", "-"], &schema).await;
    assert_eq!(
        (asked.code, &*asked.stdout),
        (Some(0), "\"yes\"\n"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_named_pipe_that_nobody_writes_to_does_not_hold_up_signals() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let fifo = named_pipe(folder.path());
    let path = fifo.to_str().unwrap();
    for arguments in [
        &["ask", "Hello", "--schema", path][..],
        &["transcribe", path],
    ] {
        let mut waiting = Gemmactl::start(&daemon, arguments);
        assert!(waiting.remark().await.contains("waiting for "));
        waiting.signal(Signal::TERM);
        assert_eq!(waiting.end().await.code, Some(143));
    }
}

fn catalogues() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/commands")
}

fn recording() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("command.wav");
    let samples = speech::say(QUESTION, "en-us").unwrap();
    speech::write_wav(&file, &samples).unwrap();
    (folder, file)
}

fn pipe() -> (std::io::PipeWriter, std::io::PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    (writer, reader)
}

fn named_pipe(folder: &Path) -> PathBuf {
    let path = folder.join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RWXU).unwrap();
    path
}

/// Writes `bytes` into a named pipe, which waits for its reader.
fn write_into(fifo: &Path, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
    let fifo = fifo.to_owned();
    std::thread::spawn(move || std::fs::write(fifo, bytes).unwrap())
}
