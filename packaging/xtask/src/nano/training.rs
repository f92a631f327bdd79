//! Training in the background: it outlives this program and the terminal.

use std::{
    fs::{File, read_to_string},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use xtask::{python::Python, say};

/// Interval at which the start of a training is polled.
const LOOK: Duration = Duration::from_millis(200);

/// Whether a training already runs in the folder; if so, tells the user.
pub fn is_running(run: &Path) -> bool {
    let running = process(run).filter(|id| trains(*id));
    if let Some(id) = running {
        say::success("The training is running already");
        explain(run, id);
    }
    running.is_some()
}

/// Starts the training, or resumes it from its last checkpoint, and waits until it is up.
pub fn start(python: &Python, run: &Path, steps: u32) -> Result<()> {
    say::step("Starting the training");
    let log = run.join("train.log");
    let mut training = detached(python.script("train.py"), &log)?
        .arg(run)
        .arg(run.join("speech"))
        .arg(steps.to_string())
        .spawn()
        .context("cannot start Python")?;
    while process(run) != Some(training.id()) {
        if let Some(status) = training.try_wait()? {
            bail!(
                "the training ended at once ({status}); {} says why",
                log.display()
            );
        }
        sleep(LOOK);
    }
    say::success("The training runs in the background");
    explain(run, training.id());
    Ok(())
}

/// Puts the command into its own process group, so that neither Ctrl-C nor the end of the terminal reaches it.
fn detached(mut command: Command, log: &Path) -> Result<Command> {
    let open = || File::options().create(true).append(true).open(log);
    let file = open().with_context(|| format!("cannot write {}", log.display()))?;
    command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    Ok(command)
}

/// Id of the process that last trained in the folder.
fn process(run: &Path) -> Option<u32> {
    read_to_string(run.join("train.pid")).ok()?.parse().ok()
}

/// Whether the process is a training; its id may have been reused since.
fn trains(id: u32) -> bool {
    read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.contains("train.py"))
}

fn explain(run: &Path, id: u32) {
    let run = run.display();
    say::result("follow it", &format!("tail -f {run}/train.log"));
    say::result("stop it", &format!("kill -- -{id}"));
    say::result(
        "go on",
        "the same command again, from the last checkpoint (one every few minutes)",
    );
    say::result(
        "end early",
        &format!("echo 300 > {run}/finish lets the learning rate run out over the next 300 steps"),
    );
    say::result(
        "afterwards",
        &format!("cargo xtask nano export --run {run}"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_only_got_the_number_of_a_training_is_none() {
        let run = tempfile::tempdir().unwrap();
        assert_eq!(process(run.path()), None);
        let this = std::process::id();
        std::fs::write(run.path().join("train.pid"), this.to_string()).unwrap();
        assert_eq!(process(run.path()), Some(this));
        assert!(!is_running(run.path()));
    }
}
