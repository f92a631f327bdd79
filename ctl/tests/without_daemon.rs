//! `gemmactl` without a daemon: usage errors, and the message that none runs.

use std::{
    fs::File,
    io::Write,
    process::{Command, Output, Stdio},
};

use gemmad_testbed::Bus;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

fn gemmactl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gemmactl"));
    // No bus unless a test provides one.
    command
        .args(arguments)
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")
        .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
        .stdin(Stdio::null());
    command
}

fn piped(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = gemmactl(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// Checks the exit code and that nothing went to standard output; returns standard error.
fn refused(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    stderr
}

#[test]
fn help_names_every_command_and_exit_code() {
    let output = gemmactl(&["--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for word in [
        "ask",
        "transcribe",
        "listen",
        "mute",
        "unmute",
        "stop",
        "halt",
        "status",
        "reload",
        "keyword",
        "--system",
        "--session",
    ] {
        assert!(help.contains(word), "{word} is missing:\n{help}");
    }
    for code in [0, 1, 2, 3, 4, 5, 6, 130, 143] {
        assert!(
            help.contains(&format!("{code:>5}  ")),
            "{code} is missing:\n{help}"
        );
    }
}

#[test]
fn an_unknown_option_or_command_is_a_usage_error() {
    for arguments in [
        &["ask", "--loud", "Hello"][..],
        &["dance"],
        &[],
        &["ask", "--top-k", "few"],
        &["command"],
        &["keyword", "train"],
        &["keyword", "train", "hey", "marvin", "--clips", "10"],
    ] {
        refused(&gemmactl(arguments).output().unwrap(), 2);
    }
}

#[test]
fn a_question_that_is_not_utf8_is_refused_with_the_place() {
    let stderr = refused(&piped(&["ask"], b"caf\xe9 au lait"), 2);
    assert!(
        stderr.starts_with("gemmactl: standard input:1:4: not UTF-8 text"),
        "{stderr}"
    );
    let stderr = refused(&piped(&["ask", "Translate:", "-"], b"a\n\xff"), 2);
    assert!(stderr.contains("standard input:2:1: "), "{stderr}");
}

#[test]
fn a_question_longer_than_a_mebibyte_is_refused() {
    let stderr = refused(&piped(&["ask", "-"], &vec![b'a'; (1 << 20) + 1]), 2);
    assert!(stderr.contains("longer than 1 MiB"), "{stderr}");
}

#[test]
fn no_text_at_a_terminal_is_a_usage_error() {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    for command in ["ask", "say"] {
        let stdin = File::open(name.to_str().unwrap()).unwrap();
        let stderr = refused(&gemmactl(&[command]).stdin(stdin).output().unwrap(), 2);
        assert!(stderr.contains("there is no text"), "{stderr}");
    }
}

#[test]
fn a_sound_file_that_cannot_be_read_is_named() {
    for arguments in [
        &["transcribe", "/nonexistent.wav"][..],
        &["ask", "What?", "--audio", "/nonexistent.wav"],
    ] {
        let stderr = refused(&gemmactl(arguments).output().unwrap(), 2);
        assert!(
            stderr.contains("/nonexistent.wav: No such file"),
            "{stderr}"
        );
    }
    let stderr = refused(&gemmactl(&["transcribe", "/"]).output().unwrap(), 2);
    assert!(stderr.contains("Is a directory"), "{stderr}");
}

#[test]
fn a_keyword_that_cannot_be_trained_is_refused_before_anything_is_made() {
    let cache = tempfile::tempdir().unwrap();
    let arguments: [(&[&str], &str); 3] = [
        (&["r2d2"], "“r2d2” cannot become a keyword"),
        (&["hey", "marvin", "--out", "/nonexistent"], "with --out"),
        (&["hey", "marvin", "--recipe", "/nonexistent"], "--recipe"),
    ];
    for (arguments, message) in arguments {
        let mut train = gemmactl(&["keyword", "train"]);
        train.args(arguments).env("XDG_CACHE_HOME", cache.path());
        let stderr = refused(&train.output().unwrap(), 2);
        assert!(stderr.contains(message), "{stderr}");
    }
    assert_eq!(cache.path().read_dir().unwrap().count(), 0);
}

#[test]
fn the_recipe_of_keywords_passes_its_own_tests() {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/keyword/tests");
    let mut python = Command::new("python3");
    python.args(["-m", "unittest", "discover", "--start-directory", tests]);
    let output = python.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
}

#[test]
fn a_schema_without_end_is_read_to_its_limit_only() {
    let arguments = ["ask", "Hello", "--schema", "/dev/zero"];
    let stderr = refused(&gemmactl(&arguments).output().unwrap(), 2);
    assert!(
        stderr.contains("/dev/zero is longer than 1 MiB"),
        "{stderr}"
    );
}

#[test]
fn a_bus_that_is_not_there_is_said_to_be_unreachable() {
    for (option, bus) in [
        (None, "system"),
        (Some("--system"), "system"),
        (Some("--session"), "session"),
    ] {
        let arguments: Vec<_> = option.into_iter().chain(["status"]).collect();
        let stderr = refused(&gemmactl(&arguments).output().unwrap(), 3);
        assert!(
            stderr.starts_with(&format!("gemmactl: cannot reach the {bus} bus: ")),
            "{stderr}"
        );
    }
}

#[tokio::test]
async fn every_command_says_that_the_daemon_is_not_running() {
    let bus = Bus::start().await.unwrap();
    for arguments in [
        &["ask", "Hello"][..],
        &["command", "stop"],
        &["commands", "list"],
        &["transcribe", "/dev/null"],
        &["listen"],
        &["listen", "--once"],
        &["mute"],
        &["unmute"],
        &["stop"],
        &["halt"],
        &["status"],
        &["reload"],
    ] {
        let output = gemmactl(arguments).envs(bus.env()).output().unwrap();
        let stderr = refused(&output, 3);
        assert!(stderr.contains("is not running"), "{arguments:?}: {stderr}");
        for next in [
            "sudo systemctl start gemmad",
            "systemctl --user start gemmad",
        ] {
            assert!(stderr.contains(next), "{stderr}");
        }
    }
}
