//! gemmad-supervise: runs one program for gemmad, and ends it with all its descendants.
//!
//! gemmad starts one supervisor per program. The end of gemmad, even by SIGKILL, closes the lifeline, and the program
//! is ended in order: SIGTERM, [`gemmad_supervise::GRACE`], SIGKILL. Background processes that a program leaves behind
//! are killed when it ends, in every session: the supervisor is their subreaper.
//!
//! | file | owns |
//! |---|---|
//! | here | from the start of the program to its end |
//! | `stage` | which signal is due, and when |
//! | `family` | the program and its descendants |
//! | `descriptors` | the descriptors of the program |
//! | `watch` | waiting for the next event |

mod descriptors;
mod family;
mod stage;
mod watch;

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use gemmad_supervise::{Order, Report};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, set_child_subreaper};

use descriptors::Outputs;
use family::Family;
use stage::Stage;
use watch::Watch;

fn main() -> ExitCode {
    descriptors::close_inherited();
    let order = Order::read(std::env::args_os().skip(1));
    let (Some(order), Ok(lifeline)) = (order, descriptors::lifeline()) else {
        eprintln!("gemmad-supervise is a part of gemmad, which alone runs it");
        return ExitCode::from(2);
    };
    match begin(order, &lifeline) {
        Ok((program, watch)) => follow(program, watch, &lifeline),
        Err(error) => {
            let number = error.raw_os_error().unwrap_or_default();
            tell(&lifeline, Report::NotStarted(number));
        }
    }
    ExitCode::SUCCESS
}

/// Starts the program, unless the lifeline or a signal has ended it already.
fn begin(order: Order, lifeline: &UnixStream) -> io::Result<(Pid, Watch)> {
    let mut watch = Watch::start()?;
    set_child_subreaper(Some(rustix::process::getpid()))?;
    let input = match order.input {
        Some(length) => read_input(lifeline, length)?.into(),
        None => Stdio::null(),
    };
    // An end requested before the start prevents the start.
    watch.wait(Some(Duration::ZERO), lifeline, &mut Outputs::default());
    if watch.has_to_end() {
        return Err(Errno::CANCELED.into());
    }
    let mut command = Command::new(order.program);
    command.args(order.arguments).stdin(input).process_group(0);
    if let Some((user, group)) = order.account {
        command.uid(user).gid(group);
    }
    let child = command.spawn()?;
    let program = Pid::from_raw(child.id().cast_signed());
    Ok((program.ok_or(io::ErrorKind::NotFound)?, watch))
}

/// The input as an unnamed file: unlike a pipe it blocks neither the program nor gemmad.
fn read_input(mut lifeline: &UnixStream, length: usize) -> io::Result<File> {
    let mut bytes = vec![0; length];
    lifeline.read_exact(&mut bytes)?;
    let mut file = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
    file.write_all(&bytes)?;
    file.rewind()?;
    Ok(file)
}

/// Follows the program until no process of it is left.
fn follow(program: Pid, mut watch: Watch, lifeline: &UnixStream) {
    let mut outputs = Outputs::take_over();
    let mut family = Family::of(program);
    let mut stage = Stage::Running;
    let mut has_told = false;
    loop {
        watch.wait(stage.patience(Instant::now()), lifeline, &mut outputs);
        family.reap();
        if let Some(status) = family.ended().filter(|_| !has_told) {
            tell(lifeline, Report::Ended(status));
            has_told = true;
        }
        if family.is_gone() {
            return;
        }
        let has_ended = family.ended().is_some();
        let due = stage.step(watch.has_to_end(), has_ended, Instant::now());
        if let Some(signal) = due {
            family.signal(signal);
        }
    }
}

/// Sends the report to gemmad, which may be gone.
fn tell(mut lifeline: &UnixStream, report: Report) {
    let _ = writeln!(lifeline, "{report}");
}
