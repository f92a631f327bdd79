//! The first run of model files, in a process of its own.
//!
//! llama.cpp ends the whole process if a file breaks one of its assumptions: by an assertion, by a C++ exception, or by
//! reading beyond the file. No check can foresee all of that. So before gemmad loads files that it has never run,
//! `gemmad --probe` loads them, answers once and hears once. If that process dies, gemmad lives and says why. Files that
//! passed are remembered (`passed`), so only the first start with them takes twice the time.

pub(super) mod files;
mod passed;

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use gemmad_text as text;
use nix::sys::signal::Signal;

use self::passed::{Passed, Run};
use super::{EngineError, LoadError};
use crate::config::Config;
use crate::engine::llama::model::Progress;

/// This program, even if its file was replaced or removed since it started.
const SELF: &str = "/proc/self/exe";

/// Runs of the same files, if the first is ended from outside.
const RUNS: usize = 2;

/// Signals that no fault of a program sends: somebody else, such as the kernel when memory runs out.
const OUTSIDE: [Signal; 5] = [
    Signal::SIGKILL,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
];

/// How often the order to stop is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// Most bytes of its output that are read, and lines and characters of its last words that are told.
const MOST_OUTPUT: u64 = 64 * 1024;
const LAST_LINES: usize = 3;
const LONGEST_REASON: usize = 400;

/// Runs model files in a process of their own before they are loaded.
#[derive(Debug, Clone)]
pub struct Probe {
    program: PathBuf,
    config: PathBuf,
    passed: Option<Passed>,
}

impl Probe {
    /// Longest time without progress. Reading the weights of E2B for the first answer takes 40 s from a slow card.
    pub const PATIENCE: Duration = Duration::from_mins(1);

    /// A probe by this program, which is gemmad, with the configuration file `config`. It remembers what passed in the
    /// folder `cache`, if there is one.
    #[must_use]
    pub fn new(config: PathBuf, cache: Option<&Path>) -> Self {
        Self::by(SELF.into(), config, cache)
    }

    fn by(program: PathBuf, config: PathBuf, cache: Option<&Path>) -> Self {
        Self {
            program,
            config,
            passed: cache.map(Passed::new),
        }
    }

    /// Runs the files that `config` names, unless they passed before. `progress` is called with the share of the text
    /// model that is loaded, 0 to 1; when it returns false, the run ends. Returns whether anything was run.
    ///
    /// # Errors
    /// That the files are of no use, with the reason.
    pub(super) fn run(
        &self,
        config: &Config,
        progress: &mut Progress<'_>,
    ) -> Result<bool, LoadError> {
        let run = Run::new(&self.program, config);
        let known = self.passed.as_ref().zip(run.as_ref());
        if known.is_some_and(|(passed, run)| passed.enter(run)) {
            return Ok(false);
        }
        let started = Instant::now();
        self.try_out(config, progress)?;
        log::info!(
            ms = started.elapsed().as_millis();
            "the model passed its first run"
        );
        if let Some((passed, run)) = known {
            passed.add(run);
        }
        Ok(true)
    }

    /// Notes that the model which `config` names was used and gemmad has ended in order.
    pub(super) fn leave(&self, config: &Config) {
        if let (Some(passed), Some(run)) = (&self.passed, Run::new(&self.program, config)) {
            passed.leave(&run);
        }
    }

    fn try_out(&self, config: &Config, progress: &mut Progress<'_>) -> Result<(), LoadError> {
        let path = &config.model.text;
        let mut outcome = Ok(());
        for _ in 0..RUNS {
            let child = self.start(config).map_err(|source| LoadError::NotTried {
                path: path.clone(),
                source,
            })?;
            outcome = watch(child, path, progress);
            if !matches!(outcome, Err(LoadError::Killed { .. })) {
                break;
            }
        }
        outcome
    }

    fn start(&self, config: &Config) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        let named = |name: &str, path: &Path| {
            let mut argument = OsString::from(name);
            argument.push(path);
            argument
        };
        // In one word, because a path may begin like an option.
        command.arg(named("--probe=", &config.model.text));
        if !config.model.mmproj.as_os_str().is_empty() {
            command.arg(named("--mmproj=", &config.model.mmproj));
        }
        command
            .arg(named("--config=", &self.config))
            .arg0("gemmad")
            // A terminal's signals are for the daemon.
            .process_group(0)
            // Else ggml would start a debugger, if there is one, when it aborts.
            .env("GGML_NO_BACKTRACE", "1")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }
}

/// Waits for the end of `child`, which runs the text model `path`.
fn watch(mut child: Child, path: &Path, progress: &mut Progress<'_>) -> Result<(), LoadError> {
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        unreachable!("both are piped");
    };
    let (told, lines) = mpsc::channel();
    thread::scope(|threads| {
        threads.spawn(move || {
            for line in BufReader::new(stdout.take(MOST_OUTPUT)).lines() {
                if line.is_ok_and(|line| told.send(line).is_ok()) {
                    continue;
                }
                break;
            }
        });
        let last_words = threads.spawn(|| last_words(stderr));
        let ended = follow(&lines, progress);
        // It has ended by now, unless it closed its output.
        let killed = child.kill();
        let status = killed.and_then(|()| child.wait());
        let why = last_words.join().unwrap_or_default();
        let path = path.to_owned();
        match (ended, status) {
            (Ended::Stopped, _) => Err(EngineError::Stopping.into()),
            (Ended::Late, _) => Err(LoadError::Hangs {
                path,
                seconds: Probe::PATIENCE.as_secs(),
            }),
            (Ended::ByItself, Ok(status)) => judge(status, path, why),
            (Ended::ByItself, Err(error)) => Err(LoadError::Refused {
                path,
                why: format!("its first run was lost: {error}"),
            }),
        }
    })
}

/// How a first run ended.
enum Ended {
    /// Its process ended.
    ByItself,
    /// It is not wanted any more.
    Stopped,
    /// It made no progress.
    Late,
}

/// Reports the progress that is told in `lines`, to their end.
fn follow(lines: &mpsc::Receiver<String>, progress: &mut Progress<'_>) -> Ended {
    let mut share = 0.0;
    let mut heard = Instant::now();
    loop {
        match lines.recv_timeout(GLANCE) {
            Ok(line) => {
                heard = Instant::now();
                share = progressed(&line).unwrap_or(share);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ended::ByItself,
        }
        if !progress(share) {
            return Ended::Stopped;
        }
        if heard.elapsed() > Probe::PATIENCE {
            return Ended::Late;
        }
    }
}

/// The share of the run that is done after this line of it: "loading 40 %", "answers" or "hears".
fn progressed(line: &str) -> Option<f32> {
    const LOADED: f32 = 0.8;
    match line {
        "answers" => return Some(0.9),
        "hears" => return Some(1.0),
        _ => {}
    }
    let percent = line.strip_prefix("loading ")?.strip_suffix(" %")?;
    let percent: u8 = percent.parse().ok()?;
    Some(LOADED * f32::from(percent) / 100.0)
}

/// The last lines of `output`, which is read to its end.
fn last_words(mut output: impl Read) -> String {
    let mut kept = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(length @ 1..) = output.read(&mut chunk) {
        // Two chunks hold the last lines.
        kept.drain(..kept.len().saturating_sub(chunk.len()));
        kept.extend_from_slice(&chunk[..length]);
    }
    let kept = String::from_utf8_lossy(&kept);
    let lines = kept.lines().map(str::trim).filter(|it| !it.is_empty());
    let lines: Vec<_> = lines.collect();
    // Assertions begin with the path of a source file on the machine that compiled it.
    let lines = lines
        .iter()
        .map(|it| it.rsplit_once("/llama.cpp/").map_or(*it, |(_, it)| it));
    let lines: Vec<_> = lines.collect();
    let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("; ");
    text::line(&last, LONGEST_REASON).into_owned()
}

/// The outcome of a first run whose process ended with `status` and the last words `why`.
fn judge(status: ExitStatus, path: PathBuf, why: String) -> Result<(), LoadError> {
    if status.success() {
        return Ok(());
    }
    let signal = status.signal().and_then(|it| Signal::try_from(it).ok());
    Err(match signal {
        None => LoadError::Failed(match why.rsplit_once("gemmad: ") {
            Some((_, why)) => why.to_owned(),
            None => why,
        }),
        Some(signal) if OUTSIDE.contains(&signal) => LoadError::Killed { path, signal },
        Some(signal) => LoadError::Crashes { path, signal, why },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let mut config = Config::default();
        (config.model.text, config.model.mmproj) = (text.into(), PathBuf::new());
        config
    }

    /// A program that does `script` instead of what gemmad does, and the folder that it lies in.
    fn probe(script: &str) -> (Probe, tempfile::TempDir) {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("gemmad");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        let cache = folder.path().join("cache");
        (Probe::by(program, "x.toml".into(), Some(&cache)), folder)
    }

    fn outcome(script: &str) -> String {
        let (probe, _folder) = probe(script);
        match probe.run(&config("/dev/null"), &mut |_| true) {
            Ok(ran) => ran.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_end_of_a_first_run_has_a_reason_in_words() {
        assert_eq!(outcome("exit 0"), "true");
        let failed =
            outcome("echo 'noise' >&2; echo 'gemmad: the file is upside down' >&2; exit 1");
        assert_eq!(failed, "the file is upside down");
        let crashed = outcome("echo 'x.cpp:7: GGML_ASSERT(n > 0) failed' >&2; kill -ABRT $$");
        assert!(
            crashed.contains("SIGABRT") && crashed.contains("n > 0"),
            "{crashed}"
        );
        let killed = outcome("kill -KILL $$");
        assert!(killed.contains("memory"), "{killed}");
        // Once is an accident.
        let once = "test -e $0.again || { touch $0.again; kill -TERM $$; }";
        assert_eq!(outcome(once), "true");
        let odd = "echo '/build/x/llama.cpp/src/a.cpp:1: b' >&2; kill -SEGV $$";
        assert!(
            outcome(odd).contains("(SIGSEGV: src/a.cpp:1: b)"),
            "{}",
            outcome(odd)
        );
    }

    #[test]
    fn files_that_passed_are_run_again_only_when_they_have_changed() {
        let (probe, folder) = probe("exit 0");
        let text = folder.path().join("text.gguf");
        std::fs::write(&text, "a").unwrap();
        let config = config(text.to_str().unwrap());
        let run = || {
            let ran = probe.run(&config, &mut |_| true).unwrap();
            probe.leave(&config);
            ran
        };
        assert!(run());
        assert!(!run());
        std::fs::write(&text, "bb").unwrap();
        assert!(run());
        assert!(!run());
        // It crashed while it was in use.
        probe.run(&config, &mut |_| true).unwrap();
        assert!(run());
    }

    #[test]
    fn files_that_failed_are_run_again_at_every_start() {
        let (probe, folder) = probe("echo 'gemmad: no' >&2; exit 1");
        let text = folder.path().join("text.gguf");
        std::fs::write(&text, "a").unwrap();
        let config = config(text.to_str().unwrap());
        for _ in 0..2 {
            assert!(probe.run(&config, &mut |_| true).is_err());
            probe.leave(&config);
        }
    }

    #[test]
    fn progress_is_reported_and_a_run_that_is_not_wanted_any_more_ends() {
        let (probe, _folder) = probe("echo 'loading 40 %'; exec sleep 1000");
        let mut shares = Vec::new();
        let ended = probe.run(&config("/dev/null"), &mut |share| {
            shares.push(share);
            share < 0.3
        });
        assert!(ended.is_err());
        assert!((shares.last().unwrap() - 0.32).abs() < 0.001, "{shares:?}");
    }

    #[test]
    fn of_much_output_the_last_lines_are_told() {
        let output = format!("{}\nthe reason\n\n", "x".repeat(100_000));
        let told = last_words(output.as_bytes());
        assert!(told.chars().count() <= LONGEST_REASON, "{told}");
        let output = format!("{}the reason\n", "line\n".repeat(10_000));
        assert_eq!(last_words(output.as_bytes()), "line; line; the reason");
    }
}
