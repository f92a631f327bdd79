//! Halting over a real bus: commands asked for before a halt do not begin after it, in every state of the daemon,
//! and commands that wait for confirmation are asked about, confirmed and dropped in time.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures_util::StreamExt;
use gemmad_api::{CommandsProxy, Error, Invocation, InvocationStatus as Status, InvokeOptions};
use gemmad_testbed::{Bus, Daemon};
use rustix::process::Signal;
use tempfile::TempDir;

const ROBOT: &str = include_str!("../../configs/commands/robot.toml");

/// A robot whose actions record the time at which they begin.
struct Robot {
    folder: TempDir,
    daemon: Daemon,
    commands: CommandsProxy<'static>,
}

impl Robot {
    /// Starts it with the shipped catalogue, which the nano model knows, and `lines` added to its commands.
    async fn start(bus: &Bus, lines: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), lines);
        let daemon = Daemon::setup(bus).commands(folder.path());
        let daemon = daemon.start().await.unwrap();
        let commands = CommandsProxy::new(daemon.connection()).await.unwrap();
        Self {
            folder,
            daemon,
            commands,
        }
    }

    async fn invoke(&self, text: &str) -> Vec<Invocation> {
        let invoked = self.commands.invoke(text, InvokeOptions::default()).await;
        invoked.unwrap().2
    }

    async fn reload(&self) {
        self.daemon.manager().reload().await.unwrap();
    }

    fn trace(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn write(folder: &Path, lines: &[(&str, &str)]) {
    let text = lines.iter().fold(ROBOT.to_owned(), |text, (name, line)| {
        let head = format!("[commands.{name}]\n");
        assert!(text.contains(&head), "{name}");
        let line = line.replace("FOLDER", &folder.display().to_string());
        text.replace(&head, &format!("{head}{line}\n"))
    });
    std::fs::write(folder.join("robot.toml"), text).unwrap();
}

/// An action that records the time at which it begins, in ns since 1970, and then takes 5 s.
const MOVE: &str =
    r#"action.program = { run = ["/bin/sh", "-c", "date +%s%N >> FOLDER/moved; sleep 5"] }"#;

/// An action that records the time at which it begins, in ns since 1970.
const STOP: &str =
    r#"action.program = { run = ["/bin/sh", "-c", "date +%s%N >> FOLDER/stopped"] }"#;

fn times(path: &Path) -> Vec<u128> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// Number of commands that have arrived at the socket.
fn arrived(listener: &UnixListener) -> usize {
    std::iter::from_fn(|| listener.accept().ok()).count()
}

#[tokio::test]
async fn no_command_begins_after_a_halt_it_came_before() {
    let bus = Bus::start().await.unwrap();
    let socket = r#"action.socket = { path = "FOLDER/moves" }"#;
    let robot = Robot::start(&bus, &[("move", socket), ("stop", STOP)]).await;
    let listener = UnixListener::bind(robot.trace("moves")).unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut cancelled = 0;
    for round in 0..40_u64 {
        let halted = async {
            // 0 to 117 ms: from before the model begins to answer until the command begins.
            tokio::time::sleep(Duration::from_millis(round * 3)).await;
            robot.commands.halt().await.unwrap();
            // Drops the commands that the daemon sent before its reply, which have all arrived by now.
            arrived(&listener);
        };
        let (moved, ()) = tokio::join!(robot.invoke("move forward two meters"), halted);
        assert_eq!(arrived(&listener), 0, "round {round}: {moved:?}");
        cancelled += usize::from(moved[0].status == Status::Cancelled);
    }
    assert!(cancelled > 0);
}

#[tokio::test]
async fn halting_ends_what_runs_after_commands_were_switched_off() {
    let bus = Bus::start().await.unwrap();
    let mut robot = Robot::start(&bus, &[("move", MOVE)]).await;
    let mut invoked = robot.commands.receive_invoked().await.unwrap();
    let commands = robot.commands.clone();
    let moving = tokio::spawn(async move {
        let moved = commands.invoke("move forward two meters", InvokeOptions::default());
        moved.await.unwrap().2
    });
    invoked.next().await.unwrap();
    robot.daemon.write("commands", "enabled", false).unwrap();
    robot.reload().await;
    assert_eq!(robot.commands.halt().await.unwrap(), []);
    assert_eq!(moving.await.unwrap()[0].status, Status::Cancelled);
}

#[tokio::test]
async fn a_command_can_be_confirmed_once_it_was_asked_about_and_not_before() {
    let bus = Bus::start().await.unwrap();
    let slow = r#"action.program = { run = ["/bin/sleep", "1"] }"#;
    let lines = [("move_arm", slow), ("look", "confirm = true")];
    let robot = Robot::start(&bus, &lines).await;
    let mut begun = robot.commands.receive_invoked().await.unwrap();
    let mut asked = robot.commands.receive_unconfirmed().await.unwrap();
    let early = async {
        let arm = begun.next().await.unwrap().args().unwrap().id;
        robot.commands.confirm(arm + 1).await
    };
    let (invoked, early) = tokio::join!(robot.invoke("raise your arm and look up"), early);
    assert!(matches!(early, Err(Error::InvalidArgument(_))), "{early:?}");
    assert_eq!(invoked[1].status, Status::Unconfirmed);
    assert_eq!(
        asked.next().await.unwrap().args().unwrap().id,
        invoked[1].id
    );
    let confirmed = robot.commands.confirm(invoked[1].id).await.unwrap();
    assert_eq!(confirmed[1].status, Status::Done);
}

#[tokio::test]
async fn a_question_that_fits_the_catalogue_no_longer_is_dropped_and_so_is_one_that_halting_takes_back()
 {
    let bus = Bus::start().await.unwrap();
    let robot = Robot::start(&bus, &[("set_speed", "confirm = true")]).await;
    let mut dropped = robot.commands.receive_dropped().await.unwrap();
    let asked = robot.invoke("set the speed to sixty percent").await;
    assert_eq!(asked[0].status, Status::Unconfirmed, "{asked:?}");
    let file = robot.trace("robot.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let lower = text.replace("max = 100", "max = 30");
    let lower = lower.replace(
        r#"sixty percent", call = { percent = 60 }"#,
        r#"thirty percent", call = { percent = 30 }"#,
    );
    assert_ne!(lower, text);
    std::fs::write(&file, lower).unwrap();
    robot.reload().await;
    let signal = dropped.next().await.unwrap();
    let signal = signal.args().unwrap();
    assert_eq!(
        (signal.id, signal.status),
        (asked[0].id, Status::NotAllowed)
    );
    let gone = robot.commands.confirm(asked[0].id).await.unwrap_err();
    assert!(matches!(gone, Error::InvalidArgument(_)), "{gone:?}");

    let asked = robot.invoke("set the speed to twenty percent").await;
    assert_eq!(asked[0].status, Status::Unconfirmed, "{asked:?}");
    robot.commands.halt().await.unwrap();
    let signal = dropped.next().await.unwrap();
    let signal = signal.args().unwrap();
    assert_eq!((signal.id, signal.status), (asked[0].id, Status::Cancelled));
    let log = robot.daemon.log();
    assert!(log.contains("command set_speed: cancelled"), "{log}");
}

#[tokio::test]
async fn the_daemon_ends_its_actions_in_order_and_stops_what_they_moved() {
    let bus = Bus::start().await.unwrap();
    let trap = "trap 'echo stopping; touch FOLDER/handled; exit 0' TERM; echo > FOLDER/began; sleep 60 & wait";
    let moves = format!(
        "action.program = {{ run = [\"/bin/sh\", \"-c\", \"{trap}\"], timeout_ms = 60000 }}"
    );
    let mut robot = Robot::start(&bus, &[("move", &moves), ("stop", STOP)]).await;
    let began = robot.trace("began");
    assert!(
        Command::new("mkfifo")
            .arg(&began)
            .status()
            .unwrap()
            .success()
    );
    let commands = robot.commands.clone();
    tokio::spawn(async move {
        commands
            .invoke("move forward two meters", InvokeOptions::default())
            .await
    });
    // Opening the pipe blocks until the action opens it for writing.
    tokio::task::spawn_blocking(|| std::fs::read(began))
        .await
        .unwrap()
        .unwrap();
    robot.daemon.signal(Signal::TERM);
    robot.daemon.wait().await.unwrap();
    assert!(robot.trace("handled").exists(), "{}", robot.daemon.log());
    assert_eq!(
        times(&robot.trace("stopped")).len(),
        1,
        "{}",
        robot.daemon.log()
    );
}

#[tokio::test]
async fn many_halts_at_once_run_few_actions_and_all_are_answered() {
    let bus = Bus::start().await.unwrap();
    let stop =
        r#"action.program = { run = ["/bin/sh", "-c", "date +%s%N >> FOLDER/stopped; sleep 1"] }"#;
    let robot = Robot::start(&bus, &[("stop", stop)]).await;
    let mut finished = robot.commands.receive_finished().await.unwrap();
    let halts = (0..100).map(|_| robot.commands.halt());
    let halted = futures_util::future::join_all(halts).await;
    let first = halted[0].as_ref().unwrap()[0].id;
    assert!(halted.iter().all(|it| it.as_ref().unwrap()[0].id == first));
    let ended = finished.next().await.unwrap();
    assert_eq!(ended.args().unwrap().status, Status::Done);
    assert_eq!(times(&robot.trace("stopped")).len(), 1);
}
