//! An action that runs a program: with its own arguments, in its own process group, with next to no environment,
//! and never by a shell.
//!
//! All that it begins ends with it: what is left of the group when the program has ended, takes too long or is
//! halted, is killed.

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::unistd::{Uid, User};
use rustix::process::Signal;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, Command};

use super::text::{Text, always};
use super::{ActionError, Job, Output, Timeout};
use crate::commands::{Kind, Name, Parameter};
use crate::platform::group::Group;

/// Time a program has to end in order (SIGTERM) before it is killed: enough to tell a motor to stand still.
const GRACE: Duration = Duration::from_millis(500);

/// Programs that would read a value as a program of its own.
const SHELLS: [&str; 10] = [
    "ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "mksh", "sh", "zsh",
];

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Its path and its arguments.
    run: Vec<Text>,
    /// What it reads.
    #[serde(default)]
    stdin: Input,
    /// Who runs it, if not the user that the daemon runs as.
    user: Option<Account>,
    #[serde(default)]
    pub(super) timeout_ms: Timeout,
    #[serde(default)]
    output: Output,
}

/// What a program reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Input {
    /// Nothing.
    #[default]
    Nothing,
    /// The command as one line of JSON.
    Json,
}

/// A user that the daemon can run a program as.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Account {
    user: u32,
    group: u32,
}

impl Program {
    /// Checks that whatever the values are, they are arguments and nothing else.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn check(&self, parameters: &BTreeMap<Name, Parameter>) -> Result<(), String> {
        let (path, arguments) = match self.run.split_first() {
            Some((path, arguments)) => (path.fixed().unwrap_or_default(), arguments),
            None => ("", &[][..]),
        };
        if !path.starts_with('/') {
            return Err(
                "`run` begins with the whole path of the program, such as \"/usr/bin/aplay\""
                    .into(),
            );
        }
        let is_shell = path
            .rsplit('/')
            .next()
            .is_some_and(|name| SHELLS.contains(&name));
        let mut options_ended = false;
        for argument in arguments {
            argument.check(parameters)?;
            if is_shell && argument.fixed().is_none() {
                return Err(
                    "a shell would read what was said as a program; run the program itself".into(),
                );
            }
            options_ended |= argument.fixed() == Some("--");
            let Some(name) = argument.first() else {
                continue;
            };
            if !options_ended && may_begin_with_dash(&always(name, parameters)?.kind) {
                return Err(format!(
                    "{{{name}}} may begin with `-` and be taken for an option; put \"--\" before it, or the \
                     option in front of it, as in \"--name={{{name}}}\""
                ));
            }
        }
        Ok(())
    }

    /// Runs it to its end, or until there is a reason to `stop`; returns what it wrote.
    ///
    /// # Errors
    /// Why it did not do its work.
    pub(super) async fn run(
        &self,
        job: Job<'_>,
        stop: impl Future<Output = ActionError>,
    ) -> Result<String, ActionError> {
        let group = Group::start(&mut self.command(job)).map_err(|error| {
            let path = self.run.first().and_then(Text::fixed).unwrap_or_default();
            ActionError::Failed(format!("{path} cannot be run: {error}"))
        })?;
        run_until(group, stop, job.json(), self.output).await
    }

    fn command(&self, job: Job<'_>) -> Command {
        let mut texts = self.run.iter().map(|text| text.fill(&job.call.arguments));
        let mut command = Command::new(texts.next().unwrap_or_default());
        command
            .args(texts)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .env("GEMMAD_COMMAND", &job.call.name)
            .env("GEMMAD_ID", job.id.to_string())
            .current_dir("/")
            .stdin(match self.stdin {
                Input::Nothing => Stdio::null(),
                Input::Json => Stdio::piped(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(Account { user, group }) = self.user {
            command.gid(group).uid(user);
        }
        command
    }
}

/// Whether a value can look like an option.
fn may_begin_with_dash(kind: &Kind) -> bool {
    match kind {
        Kind::Enum(values) => values.iter().any(|value| value.as_str().starts_with('-')),
        Kind::Integer { min, .. } => *min < 0,
        Kind::Number { min, .. } => *min < 0.0,
        Kind::Boolean => false,
        Kind::String { .. } | Kind::List { .. } => true,
    }
}

impl TryFrom<String> for Account {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let found = User::from_name(&name).map_err(|error| error.to_string())?;
        let User { uid, gid, .. } = found.ok_or_else(|| format!("there is no user {name}"))?;
        let own = Uid::effective();
        if own.is_root() || own == uid {
            return Ok(Self {
                user: uid.as_raw(),
                group: gid.as_raw(),
            });
        }
        Err(format!(
            "gemmad runs as user {own} and cannot become {name}, only root could; leave out `user`, and have a \
             service of {name} act on the signal, a D-Bus method or a socket instead"
        ))
    }
}

/// Follows a program to its end, or ends it when there is a reason to `stop`.
async fn run_until(
    mut group: Group,
    stop: impl Future<Output = ActionError>,
    input: String,
    output: Output,
) -> Result<String, ActionError> {
    tokio::select! {
        ended = run(&mut group, input, output) => ended,
        why = stop => {
            end(&mut group).await;
            Err(why)
        }
    }
}

async fn run(group: &mut Group, input: String, output: Output) -> Result<String, ActionError> {
    let child = &mut group.child;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let ended = async {
        let status = group.wait().await;
        // What it left behind may hold the pipes open.
        group.signal(Signal::KILL);
        status
    };
    let (said, complained, (), status) = tokio::join!(
        read(stdout, output),
        read(stderr, output),
        write(stdin, input),
        ended
    );
    let failed = |why: String| Err(ActionError::Failed(why));
    match status {
        Ok(status) if status.success() => Ok(output.keep(&said)),
        Ok(status) => failed(failure(status, &output.keep(&complained))),
        Err(error) => failed(error.to_string()),
    }
}

/// Has it end, in order if it can do so quickly.
async fn end(group: &mut Group) {
    group.signal(Signal::TERM);
    let _ = tokio::time::timeout(GRACE, group.wait()).await;
    group.signal(Signal::KILL);
    let _ = group.wait().await;
}

fn failure(status: ExitStatus, complained: &str) -> String {
    match complained.lines().last() {
        Some(line) => format!("{status}: {line}"),
        None => status.to_string(),
    }
}

/// All of it, so that the program is not held up, of which the beginning is kept.
async fn read(pipe: Option<impl AsyncRead + Unpin>, Output(most): Output) -> Vec<u8> {
    let Some(mut pipe) = pipe else {
        return Vec::new();
    };
    let mut kept = Vec::new();
    let mut piece = [0; 4096];
    // A pipe that fails has ended.
    while let Ok(length @ 1..) = pipe.read(&mut piece).await {
        let room = most.saturating_sub(kept.len());
        kept.extend_from_slice(&piece[..length.min(room)]);
    }
    kept
}

async fn write(stdin: Option<ChildStdin>, mut line: String) {
    let Some(mut stdin) = stdin else { return };
    line.push('\n');
    // A program that does not want to know has closed it.
    let _ = stdin.write_all(line.as_bytes()).await;
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::testing::{action, run, run_until};
    use super::*;

    fn failed(result: Result<String, ActionError>) -> String {
        match result {
            Err(ActionError::Failed(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_value_is_one_argument_whatever_it_holds() {
        let run_it = r#"action.program = { run = ["/usr/bin/printf", "[%s]", "--", "{word}", "x={angle}"] }"#;
        assert_eq!(
            run(run_it).await.unwrap(),
            "[--][-n $(id); 'x' \"y\" *][x=-5]"
        );
    }

    #[tokio::test]
    async fn the_call_comes_as_json_and_the_environment_is_next_to_none() {
        let cat = r#"action.program = { run = ["/bin/cat"], stdin = "json" }"#;
        let told: serde_json::Value = serde_json::from_str(&run(cat).await.unwrap()).unwrap();
        assert_eq!(told["command"], "test");
        assert_eq!(told["arguments"]["many"], serde_json::json!(["a", "b"]));
        assert_eq!(
            (&told["origin"], &told["user"]),
            (&"text".into(), &"anna".into())
        );
        let env = run(r#"action.program = { run = ["/usr/bin/env"] }"#)
            .await
            .unwrap();
        let mut names: Vec<_> = env.lines().filter_map(|it| it.split('=').next()).collect();
        names.sort_unstable();
        assert_eq!(names, ["GEMMAD_COMMAND", "GEMMAD_ID", "LANG", "PATH"]);
    }

    #[tokio::test]
    async fn a_program_that_fails_says_why() {
        let why = failed(run(r#"action.program = { run = ["/bin/ls", "/nonexistent"] }"#).await);
        assert!(
            why.contains("exit status: 2") && why.contains("/nonexistent"),
            "{why}"
        );
        let why = failed(run(r#"action.program = { run = ["/nonexistent"] }"#).await);
        assert!(why.contains("/nonexistent cannot be run"), "{why}");
    }

    #[tokio::test]
    async fn more_output_than_is_kept_does_not_hold_it_up() {
        let text = r#"action.program = { run = ["/usr/bin/seq", "100000"], output = 5 }"#;
        assert_eq!(run(text).await.unwrap(), "1\n2\n3");
    }

    #[tokio::test]
    async fn what_takes_too_long_or_is_halted_ends_with_all_it_began() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        // The shell's child would outlive it.
        let script = format!("sleep 60 & echo $! > {}; wait", pid.display());
        let text = format!(
            "action.program = {{ run = [\"/bin/sh\", \"-c\", \"{script}\"], timeout_ms = 300 }}"
        );
        let begun = Instant::now();
        let ended = run(&text).await.unwrap_err();
        assert_eq!(ended, ActionError::TimedOut(Duration::from_millis(300)));
        assert!(begun.elapsed() < Duration::from_secs(20));
        let child = std::fs::read_to_string(&pid).unwrap();
        assert!(is_gone(child.trim()).await, "{child}");

        let text = r#"action.program = { run = ["/bin/sleep", "60"], timeout_ms = 60000 }"#;
        let halted = run_until(text, tokio::time::sleep(Duration::from_millis(50))).await;
        assert_eq!(halted, Err(ActionError::Halted));
    }

    /// Whether a process has ended, or ends within a second. Nobody may have waited for it yet.
    async fn is_gone(pid: &str) -> bool {
        for _ in 0..100 {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            if stat.map_or(true, |stat| stat.contains(") Z ")) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_ends_with_it() {
        let text = "action.program = { run = [\"/bin/sh\", \"-c\", \"sleep 60 & echo $!\"] }";
        let child = run(text).await.unwrap();
        assert!(is_gone(&child).await, "{child}");
    }

    #[test]
    fn what_could_be_taken_for_an_option_or_a_program_is_refused() {
        for (run, why) in [
            (r#"["true"]"#, "whole path"),
            (r#"["{word}"]"#, "whole path"),
            ("[]", "whole path"),
            (r#"["/bin/echo", "{word}"]"#, "be taken for an option"),
            (r#"["/bin/echo", "{angle}"]"#, "be taken for an option"),
            (r#"["/bin/echo", "--", "{maybe}"]"#, "may be left out"),
            (r#"["/bin/echo", "--", "{many}"]"#, "is a list"),
            (
                r#"["/bin/echo", "{colour}"]"#,
                "there is no parameter {colour}",
            ),
            (r#"["/bin/sh", "-c", "echo {count}"]"#, "a shell would read"),
        ] {
            let refused = action(&format!("action.program = {{ run = {run} }}")).unwrap_err();
            assert!(refused.contains(why), "{run}: {refused}");
        }
        for run in [
            r#"["/bin/echo", "{count}", "{way}"]"#,
            r#"["/bin/echo", "--angle={angle}"]"#,
            r#"["/bin/echo", "--", "{word}", "{angle}"]"#,
        ] {
            let accepted = action(&format!("action.program = {{ run = {run} }}"));
            assert!(accepted.is_ok(), "{accepted:?}");
        }
        let nobody = action(r#"action.program = { run = ["/bin/true"], user = "no-such-user" }"#);
        assert!(
            nobody
                .unwrap_err()
                .contains("there is no user no-such-user")
        );
    }

    #[tokio::test]
    async fn another_user_is_only_for_root() {
        let id = r#"action.program = { run = ["/usr/bin/id", "-un"], user = "nobody" }"#;
        if Uid::effective().is_root() {
            assert_eq!(run(id).await.unwrap(), "nobody");
        } else {
            assert!(action(id).unwrap_err().contains("cannot become nobody"));
        }
    }
}
