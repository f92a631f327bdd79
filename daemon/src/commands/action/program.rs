//! An action that runs a program: with its own arguments, with a minimal environment, and never through a shell.
//!
//! Its descendants end with it: those left when the program has ended, timed out or was halted are killed
//! ([`crate::platform::program`]).

use std::collections::BTreeMap;

use nix::unistd::{Uid, User};
use serde::Deserialize;

use super::error::ActionError;
use super::job::{Job, Output, Timeout};
use super::text::{Text, always};
use crate::commands::{Kind, Name, Parameter};
use crate::platform::program::{self, ProgramError, Running};

/// Shells, which would interpret a value as a program.
const SHELLS: [&str; 10] = [
    "ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "mksh", "sh", "zsh",
];

/// Programs that read a program from the argument behind one of [`CODE`]. Versions in their names are left out.
const INTERPRETERS: [&str; 8] = [
    "lua", "node", "perl", "php", "python", "ruby", "runuser", "su",
];

/// Options whose argument is a program.
const CODE: [&str; 7] = ["-c", "-e", "-E", "-r", "--command", "--eval", "--run"];

/// Programs that run the program in their arguments.
const RUNNERS: [&str; 13] = [
    "chrt", "doas", "env", "flock", "ionice", "nice", "nohup", "runuser", "setsid", "stdbuf",
    "sudo", "timeout", "xargs",
];

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::unsafe_derive_deserialize)] // The `unsafe` in its methods is tokio's, in `select!`.
pub struct Program {
    /// Its path and its arguments.
    run: Vec<Text>,
    /// Its standard input.
    #[serde(default)]
    stdin: Input,
    /// The user it runs as; `None`: the daemon's.
    user: Option<Account>,
    #[serde(default)]
    pub(super) timeout_ms: Timeout,
    #[serde(default)]
    output: Output,
}

/// The standard input of a program.
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
    /// Checks that no value can become an option or a program of a shell.
    ///
    /// # Errors
    /// The first problem found.
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
        let runs_another = is_one_of(&RUNNERS, path);
        let mut reads_programs = is_one_of(&SHELLS, path);
        let mut interprets = is_interpreter(path);
        let mut options_ended = false;
        let mut before = "";
        for argument in arguments {
            argument.check(parameters)?;
            if interprets && argument.fixed().is_none() && CODE.contains(&before) {
                return Err(format!(
                    "behind `{before}` what was said would be read as a program; hand it over as an argument behind a \
                     fixed program"
                ));
            }
            before = argument.fixed().unwrap_or_default();
            interprets |= runs_another && is_interpreter(before);
            match argument.fixed() {
                Some(fixed) => reads_programs |= runs_another && is_one_of(&SHELLS, fixed),
                None if reads_programs => {
                    return Err(
                        "a shell would read what was said as a program; run the program itself, or a script by its own path"
                            .into(),
                    );
                }
                None => {}
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

    /// Runs the program to its end, or until `stop` is ready; returns its standard output.
    ///
    /// # Errors
    /// When it cannot be run, ends with a status other than 0, or `stop` comes first.
    pub(super) async fn run(
        &self,
        job: Job<'_>,
        stop: impl Future<Output = ActionError>,
    ) -> Result<String, ActionError> {
        let running = self.prepare(job)?.start().await;
        let mut running = running.map_err(|error| self.not_run(&error))?;
        let ended = tokio::select! {
            ended = follow(&mut running, self.output) => ended,
            why = stop => {
                running.lifeline.end().await;
                return Err(why);
            }
        };
        ended.map_err(|error| self.not_run(&error))?
    }

    fn prepare<'a>(&self, job: Job<'a>) -> Result<program::Program<'a>, ActionError> {
        let mut words = Vec::with_capacity(self.run.len());
        for text in &self.run {
            words.push(text.fill(&job.call.arguments)?.into());
        }
        let arguments = words.split_off(1.min(words.len()));
        Ok(program::Program {
            // `check` has refused a program without a path.
            path: words.pop().unwrap_or_default(),
            arguments,
            input: match self.stdin {
                Input::Nothing => None,
                Input::Json => Some((job.json() + "\n").into()),
            },
            environment: job.environment,
            variables: vec![
                ("GEMMAD_COMMAND", (&job.call.name).into()),
                ("GEMMAD_ID", job.id.to_string().into()),
            ],
            account: self.user.as_ref().map(|it| (it.user, it.group)),
        })
    }

    fn not_run(&self, error: &ProgramError) -> ActionError {
        let path = self.run.first().and_then(Text::fixed).unwrap_or_default();
        ActionError::failed(format!("{path} cannot be run: {error}"))
    }
}

/// Follows a program to its end; returns its standard output, or its failure with the last line of its standard error.
async fn follow(
    running: &mut Running,
    output: Output,
) -> Result<Result<String, ActionError>, ProgramError> {
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let Output(most) = output;
    let reading = async {
        tokio::join!(
            program::read(&mut running.stdout, most, &mut said),
            program::read(&mut running.stderr, most, &mut complained)
        )
    };
    let status = program::alongside(running.lifeline.ended(), reading).await?;
    if status.success() {
        return Ok(Ok(output.keep(&said)));
    }
    let complained = output.keep(&complained);
    Ok(Err(ActionError::Failed {
        why: program::describe(status),
        said: complained
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned()
            .into(),
    }))
}

/// Whether a program of this path or name is an interpreter.
fn is_interpreter(path: &str) -> bool {
    let is_version = |it: char| it.is_ascii_digit() || it == '.';
    is_one_of(&INTERPRETERS, path.trim_end_matches(is_version))
}

/// Whether a program of this path or name is one of these.
fn is_one_of(names: &[&str], path: &str) -> bool {
    let name = path.rsplit('/').next();
    name.is_some_and(|name| names.contains(&name))
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::testing::{action, run, run_until};
    use super::*;

    fn failed(result: Result<String, ActionError>) -> String {
        match result {
            Err(error @ ActionError::Failed { .. }) => error.told(),
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
            why.contains("it ended with code 2") && why.contains("/nonexistent"),
            "{why}"
        );
        let why = failed(run(r#"action.program = { run = ["/nonexistent"] }"#).await);
        assert!(
            why.contains("/nonexistent cannot be run: there is no such program"),
            "{why}"
        );
        let why = failed(run(r#"action.program = { run = ["/etc/passwd"] }"#).await);
        assert!(why.contains("may not execute it"), "{why}");
        let killed = r#"action.program = { run = ["/bin/sh", "-c", "kill -SEGV $$"] }"#;
        let why = failed(run(killed).await);
        assert_eq!(why, "it was killed by signal 11 (SIGSEGV)");
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
        // The child would outlive the shell.
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

    /// Whether a process has ended, or ends within ten seconds.
    async fn is_gone(pid: &str) -> bool {
        for _ in 0..1000 {
            if !std::path::Path::new("/proc").join(pid).exists() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    /// An action that runs this script, with more keys.
    fn shell(script: &str, keys: &str) -> String {
        format!("action.program = {{ run = [\"/bin/sh\", \"-c\", '''{script}'''], {keys} }}")
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_ends_with_it_and_holds_nothing_up() {
        // In its group, in another session, and in another session without a parent.
        let script = "sleep 60 & echo $!; setsid sleep 60 & echo $!; (setsid sleep 60 & echo $!)";
        let begun = Instant::now();
        let children = run(&shell(script, "timeout_ms = 50000")).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_eq!(children.lines().count(), 3, "{children}");
        for child in children.lines() {
            assert!(is_gone(child).await, "{child}");
        }
        // A descendant in another session is told to end too, not only its process group.
        let script = "setsid sleep 60 & echo $! >&2; exit 3";
        let why = failed(run(&shell(script, "timeout_ms = 50000")).await);
        let child = why.strip_prefix("it ended with code 3: ").unwrap();
        assert!(is_gone(child).await, "{child}");
    }

    #[tokio::test]
    async fn a_handler_may_write_before_it_ends_by_a_halt_or_a_timeout() {
        let folder = tempfile::tempdir().unwrap();
        let done = folder.path().join("done");
        let begun = folder.path().join("begun");
        let script = format!(
            "trap \"seq 100000; seq 100000 >&2; touch {}; exit 0\" TERM; touch {}; sleep 60 & wait",
            done.display(),
            begun.display()
        );
        let halted = run_until(&shell(&script, "timeout_ms = 60000"), exists(&begun)).await;
        assert_eq!(halted, Err(ActionError::Halted));
        assert!(done.exists());

        std::fs::remove_file(&done).unwrap();
        let late = run(&shell(&script, "timeout_ms = 3000")).await;
        assert_eq!(late, Err(ActionError::TimedOut(Duration::from_secs(3))));
        assert!(done.exists());
    }

    #[tokio::test]
    async fn a_program_that_is_dropped_ends_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let [begun, done] = ["begun", "done"].map(|it| folder.path().join(it));
        let script = format!(
            "trap \"sleep 0.1; echo stopping; touch {}; exit 0\" TERM; touch {}; sleep 60 & wait",
            done.display(),
            begun.display()
        );
        let text = shell(&script, "timeout_ms = 60000");
        tokio::select! {
            ended = run(&text) => panic!("{ended:?}"),
            () = exists(&begun) => {}
        }
        tokio::time::timeout(Duration::from_secs(20), exists(&done))
            .await
            .unwrap();
    }

    /// Waits until there is such a file.
    async fn exists(path: &std::path::Path) {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn no_descriptor_of_the_daemon_reaches_a_program() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // Without FD_CLOEXEC, like the descriptors that zbus receives from clients.
        let flags = rustix::fs::OFlags::RDONLY;
        let _kept = rustix::fs::open(file.path(), flags, rustix::fs::Mode::empty()).unwrap();
        let list =
            r#"action.program = { run = ["/bin/ls", "-l", "/proc/self/fd"], stdin = "json" }"#;
        let list = run(list).await.unwrap();
        assert!(!list.contains(&file.path().display().to_string()), "{list}");
        // Three descriptors, and that of the listed folder.
        let links = list.lines().filter(|line| line.contains(" -> "));
        assert_eq!(links.count(), 4, "{list}");
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
            (
                r#"["/usr/bin/env", "LANG=C", "bash", "-c", "echo {count}"]"#,
                "a shell would read",
            ),
            (r#"["/bin/echo", "a\u0000b"]"#, "NUL character"),
            (
                r#"["/usr/bin/python3.11", "-c", "print({count})"]"#,
                "behind `-c`",
            ),
            (
                r#"["/usr/bin/nice", "perl", "-e", "{word}"]"#,
                "behind `-e`",
            ),
        ] {
            let refused = action(&format!("action.program = {{ run = {run} }}")).unwrap_err();
            assert!(refused.contains(why), "{run}: {refused}");
        }
        for run in [
            r#"["/bin/echo", "{count}", "{way}"]"#,
            r#"["/bin/echo", "--angle={angle}"]"#,
            r#"["/bin/echo", "--", "{word}", "{angle}"]"#,
            r#"["/opt/robot/feed", "fish", "{count}"]"#,
            r#"["/usr/bin/python3", "-c", "import sys; print(sys.argv)", "{count}"]"#,
            r#"["/usr/bin/grep", "-e", "{way}"]"#,
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
