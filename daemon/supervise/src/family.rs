//! The program and everything it began.
//!
//! A number of a process belongs to somebody else once the process has ended and was waited for. So processes are
//! signalled through descriptors (`pidfd_open`), each opened for a number that was a descendant's and still is
//! afterwards; only the program's own group is signalled by number, while the program has not been waited for.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process_group, pidfd_open,
    pidfd_send_signal, wait,
};

/// The program, which leads a process group, and everything it began.
#[derive(Debug)]
pub struct Family {
    program: Pid,
    ended: Option<ExitStatus>,
    is_gone: bool,
}

/// What the kernel says about a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    parent: i32,
    group: i32,
}

impl Family {
    /// Of this program, which is a child of this process.
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

    /// Whether nothing of it is left.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Takes note of all that have ended.
    pub fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.program => {
                    self.ended = Some(ExitStatus::from_raw(status.as_raw()));
                }
                // Somebody who was adopted when their parent ended.
                Ok(Some(_)) => {}
                Ok(None) => return,
                // There is no child, so there is no descendant: this process adopts those.
                Err(_) => {
                    self.is_gone = true;
                    return;
                }
            }
        }
    }

    /// Signals all of it: the program's group at once, so that no shell goes on after its child; then the others,
    /// parents first.
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

/// Signals the process of this number, if it is still a child of one of the family.
fn signal_descendant(number: i32, signal: Signal, descendants: &[i32]) {
    let Some(pid) = Pid::from_raw(number) else {
        return;
    };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    // The number cannot change hands while the descriptor is open without the signal failing.
    let parent = entry(number).map(|entry| entry.parent);
    let is_ours = |parent| parent == getpid().as_raw_pid() || descendants.contains(&parent);
    if parent.is_some_and(is_ours) {
        let _ = pidfd_send_signal(process, signal);
    }
}

/// All processes by their number.
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
    // The name may hold anything.
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
