//! The real supervisor with real programs: their input, their end, and their descendants.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use gemmad_supervise::{GRACE, Order, Report};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};

/// Longest wait for any event.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running supervisor. Dropping it closes the lifeline, as the end of gemmad does, and so ends the program.
struct Supervisor {
    process: Child,
    output: BufReader<ChildStdout>,
    lifeline: BufReader<UnixStream>,
}

impl Supervisor {
    fn start(program: &str, arguments: &[&str], input: Option<&str>) -> Self {
        let order = Order {
            input: input.map(str::len),
            account: None,
            program: program.into(),
            arguments: arguments.iter().map(Into::into).collect(),
        };
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_gemmad-supervise"))
            .args(order.arguments())
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        ours.write_all(input.unwrap_or_default().as_bytes())
            .unwrap();
        Self {
            output: BufReader::new(process.stdout.take().unwrap()),
            process,
            lifeline: BufReader::new(ours),
        }
    }

    fn shell(script: &str) -> Self {
        Self::start("/bin/sh", &["-c", script], None)
    }

    fn report(&mut self) -> Report {
        let mut line = String::new();
        self.lifeline.read_line(&mut line).unwrap();
        line.parse().unwrap()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().into()
    }

    fn rest(&mut self) -> String {
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        text
    }

    /// Asks it to end, as gemmad does.
    fn stop(&mut self) {
        let lifeline = self.lifeline.get_ref();
        lifeline.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Waits until nothing is left of the program.
    fn wait(mut self) {
        let mut rest = Vec::new();
        self.lifeline.read_to_end(&mut rest).unwrap();
        assert!(self.process.wait().unwrap().success());
    }
}

fn ended(raw: i32) -> Report {
    Report::Ended(std::process::ExitStatus::from_raw(raw))
}

fn is_there(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

#[test]
fn a_program_gets_its_input_and_its_output_and_end_come_back() {
    let mut cat = Supervisor::start("/bin/sh", &["-c", "cat; exit 3"], Some("some words\n"));
    assert_eq!(cat.rest(), "some words\n");
    assert_eq!(cat.report(), ended(3 << 8));
    cat.wait();
    // Looked up in `PATH`, as a synthesiser is.
    let mut cat = Supervisor::start("cat", &[], None);
    assert_eq!((cat.rest().as_str(), cat.report()), ("", ended(0)));
}

#[test]
fn an_end_by_a_signal_and_a_program_that_is_not_there_are_told_apart() {
    assert_eq!(Supervisor::shell("kill -SEGV $$").report(), ended(11));
    let mut nothing = Supervisor::start("/nonexistent", &[], None);
    let missing = rustix::io::Errno::NOENT.raw_os_error();
    assert_eq!(nothing.report(), Report::NotStarted(missing));
    nothing.wait();
}

#[test]
fn a_program_ends_in_order_although_nobody_reads_what_it_writes_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let flag = folder.path().join("done");
    // More than a pipe holds.
    let script = format!(
        "trap 'seq 100000; touch {}; exit 0' TERM; echo ready; sleep 60 & wait",
        flag.display()
    );
    let supervisor = Supervisor::shell(&script);
    let Supervisor {
        mut process,
        mut output,
        lifeline,
    } = supervisor;
    output.read_line(&mut String::new()).unwrap();
    // As if gemmad had been killed.
    drop((output, lifeline));
    assert!(process.wait().unwrap().success());
    assert!(flag.exists());
}

#[test]
fn what_ignores_sigterm_is_killed_after_the_grace() {
    let mut deaf = Supervisor::shell("trap '' TERM; echo ready; while :; do sleep 60; done");
    deaf.line();
    let begin = Instant::now();
    deaf.stop();
    assert_eq!(deaf.report(), ended(9));
    assert!(begin.elapsed() >= GRACE, "{:?}", begin.elapsed());
    deaf.wait();
}

#[test]
fn children_in_another_session_have_their_grace_too() {
    let folder = tempfile::tempdir().unwrap();
    let flag = folder.path().join("done");
    let child = format!(
        "trap 'sleep 0.1; touch {}; exit 0' TERM; echo ready; sleep 60 & wait",
        flag.display()
    );
    // The parent outlives the child, so that the child is not adopted by the supervisor before its end.
    let script = format!("trap true TERM; setsid sh -c \"{child}\" & wait; wait; sleep 60");
    let mut family = Supervisor::shell(&script);
    assert_eq!(family.line(), "ready");
    family.stop();
    family.wait();
    assert!(flag.exists());
}

#[test]
fn what_a_program_leaves_behind_ends_with_it_wherever_it_went() {
    // The first has left the session; the second has also left its parent, which ends at once.
    let mut leaves = Supervisor::shell(
        "setsid sleep 60 & echo $!; (setsid sleep 60 & echo $!) ; sleep 0.1; exit 4",
    );
    let children = [leaves.line(), leaves.line()];
    let begin = Instant::now();
    assert_eq!(leaves.report(), ended(4 << 8));
    // They held the pipe open.
    assert_eq!(leaves.rest(), "");
    assert!(begin.elapsed() < PATIENCE);
    leaves.wait();
    for child in children {
        assert!(!is_there(&child), "{child}");
    }
}

#[test]
fn what_has_to_end_before_it_began_never_begins() {
    let folder = tempfile::tempdir().unwrap();
    let flag = folder.path().join("begun");
    let order = Order {
        input: None,
        account: None,
        program: "/bin/touch".into(),
        arguments: vec![flag.clone().into()],
    };
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    let mut supervisor = Command::new(env!("CARGO_BIN_EXE_gemmad-supervise"))
        .args(order.arguments())
        .stdin(OwnedFd::from(theirs))
        .spawn()
        .unwrap();
    assert!(supervisor.wait().unwrap().success());
    assert!(!flag.exists());
    let mut report = String::new();
    ours.read_to_string(&mut report).unwrap();
    let cancelled = rustix::io::Errno::CANCELED.raw_os_error();
    assert_eq!(report.parse(), Ok(Report::NotStarted(cancelled)));
}

#[test]
fn a_descriptor_that_survives_exec_does_not_reach_the_program() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let kept = rustix::fs::open(file.path(), OFlags::RDONLY, Mode::empty()).unwrap();
    let flags = rustix::io::fcntl_getfd(&kept).unwrap();
    assert!(!flags.contains(rustix::io::FdFlags::CLOEXEC));
    let mut list = Supervisor::start("/bin/ls", &["-l", "/proc/self/fd"], Some("x"));
    let list = list.rest();
    assert!(!list.contains(&file.path().display().to_string()), "{list}");
    // 3 is the folder that `ls` lists.
    let numbers: Vec<u32> = list
        .lines()
        .filter(|line| line.contains(" -> "))
        .filter_map(|line| line.split(" -> ").next()?.rsplit(' ').next()?.parse().ok())
        .collect();
    assert_eq!(numbers, [0, 1, 2, 3], "{list}");
}

#[test]
fn a_signal_to_the_supervisor_ends_the_program() {
    let mut sleeps = Supervisor::shell("echo $$; exec sleep 60");
    let program = sleeps.line();
    let pid = Pid::from_child(&sleeps.process);
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(sleeps.report(), ended(15));
    sleeps.wait();
    assert!(!is_there(&program));
}

#[test]
fn a_program_has_no_signal_blocked_or_ignored() {
    let mut status = Supervisor::start("/bin/grep", &["^Sig[BI]", "/proc/self/status"], None);
    for line in status.rest().lines() {
        let (_, mask) = line.split_once('\t').unwrap();
        // Only signals up to 31: the C library reserves two of those above for itself.
        let mask = u64::from_str_radix(mask, 16).unwrap() & 0x7fff_ffff;
        assert_eq!(mask, 0, "{line}");
    }
}

#[test]
fn what_is_no_order_is_refused_and_nothing_is_run() {
    let refused = Command::new(env!("CARGO_BIN_EXE_gemmad-supervise"))
        .arg("--help")
        .stdin(
            File::open("/dev/null")
                .unwrap()
                .as_fd()
                .try_clone_to_owned()
                .unwrap(),
        )
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        String::from_utf8(refused.stderr)
            .unwrap()
            .contains("part of gemmad")
    );
}
