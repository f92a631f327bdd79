//! The program and its descendants.
//!
//! The kernel may reuse a process's number once the process has ended and was waited for. Processes are therefore
//! signalled through descriptors (`pidfd_open`), each opened for a number that was a descendant's before and still is
//! afterwards. Only the program's own group is signalled by number, as long as the program has not been waited for.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process_group, pidfd_open,
    pidfd_send_signal, wait,
};

/// The program, which leads a process group, and its descendants.
#[derive(Debug)]
pub struct Family {
    program: Pid,
    ended: Option<ExitStatus>,
    is_gone: bool,
}

/// Parent and process group of a process, as in `/proc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    parent: i32,
    group: i32,
}

impl Family {
    /// The family of `program`, a child of this process.
    pub fn of(program: Pid) -> Self {
        Self {
            program,
            ended: None,
            is_gone: false,
        }
    }

    /// How the program ended, if it has.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.ended
    }

    /// Whether no process of it is left.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Waits for all children that have ended, without blocking.
    pub fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.program => {
                    self.ended = Some(ExitStatus::from_raw(status.as_raw()));
                }
                // A descendant that this process adopted when its parent ended.
                Ok(Some(_)) => {}
                Ok(None) => return,
                // Without a child there is no descendant either: this process is the subreaper and adopts all orphans.
                Err(_) => {
                    self.is_gone = true;
                    return;
                }
            }
        }
    }

    /// Signals all processes of the family: first the program's group in one call, so that no shell continues after its
    /// child; then the others, parents first.
    pub fn signal(&self, signal: Signal) {
        let group = self.ended.is_none().then_some(self.program);
        if let Some(group) = group {
            let _ = kill_process_group(group, signal);
        }
        let group = group.map(Pid::as_raw_pid);
        let processes = processes();
        let descendants = descendants(getpid().as_raw_pid(), &processes);
        for pid in &descendants {
            if processes.get(pid).map(|entry| entry.group) != group {
                signal_descendant(*pid, signal, &descendants);
            }
        }
    }
}

/// Signals the process with this number, if its parent is this process or one of `descendants`.
fn signal_descendant(number: i32, signal: Signal, descendants: &[i32]) {
    let Some(pid) = Pid::from_raw(number) else {
        return;
    };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    // If the process ends and its number is reused from here on, the signal through the descriptor fails.
    let parent = entry(number).map(|entry| entry.parent);
    let is_ours = |parent| parent == getpid().as_raw_pid() || descendants.contains(&parent);
    if parent.is_some_and(is_ours) {
        let _ = pidfd_send_signal(process, signal);
    }
}

/// All processes of the machine by number.
fn processes() -> BTreeMap<i32, Entry> {
    let folder = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = folder.filter_map(|it| it.file_name().to_str()?.parse().ok());
    numbers.filter_map(|pid| Some((pid, entry(pid)?))).collect()
}

fn entry(pid: i32) -> Option<Entry> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads `/proc/PID/stat` (`proc_pid_stat(5)`): `PID (NAME) STATE PARENT GROUP …`.
fn parse(stat: &str) -> Option<Entry> {
    // The name may hold brackets and spaces.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(1);
    Some(Entry {
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
    })
}

/// All descendants of `ancestor`, parents before their children.
fn descendants(ancestor: i32, processes: &BTreeMap<i32, Entry>) -> Vec<i32> {
    let mut found = vec![ancestor];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        let is_child = |(pid, entry): &(&i32, &Entry)| entry.parent == parent && **pid != parent;
        found.extend(processes.iter().filter(is_child).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_hides_nothing() {
        let stat = "71 (a) S 1 (b) S 30 40 50 0 -1 4194304";
        let entry = Entry {
            parent: 30,
            group: 40,
        };
        assert_eq!(parse(stat), Some(entry));
        assert_eq!(parse("71 (cut"), None);
    }

    #[test]
    fn descendants_come_after_their_parents_whatever_their_numbers() {
        let of = |parent| Entry { parent, group: 1 };
        let processes = [(1, 0), (5, 1), (9, 5), (3, 9), (4, 1), (7, 5)];
        let processes = processes.map(|(pid, parent)| (pid, of(parent))).into();
        assert_eq!(descendants(5, &processes), [7, 9, 3]);
        assert_eq!(descendants(3, &processes), [0; 0]);
    }

    #[test]
    fn this_test_is_found_among_all_processes() {
        let own = processes()[&getpid().as_raw_pid()];
        assert_eq!(own.group, rustix::process::getpgrp().as_raw_pid());
    }
}
