//! How much memory the system has left for this process, and how long programs wait for it.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that may be allocated without swapping: what the kernel says is available, or less where a control group limits it.
/// `None` where neither is known.
#[must_use]
pub fn available() -> Option<u64> {
    Kernel::default().available()
}

/// What one look at the memory finds; `None` where the kernel does not tell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// Bytes that may be allocated without swapping.
    pub free: Option<u64>,
    /// Share of the last ten seconds in which some program waited for memory, 0 to 1: of this process's control group, or of
    /// the system.
    pub stalled: Option<f32>,
}

/// The kernel's files about memory.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// What stands for `/`.
    root: PathBuf,
}

impl Default for Kernel {
    fn default() -> Self {
        Self::at("/")
    }
}

impl Kernel {
    /// The files under `root`, which stands for `/`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Looks at the memory.
    #[must_use]
    pub fn look(&self) -> Look {
        Look {
            free: self.available(),
            stalled: self.stalled(),
        }
    }

    fn available(&self) -> Option<u64> {
        let system = self.read("proc/meminfo");
        let system = system.and_then(|it| kilobytes(&it, "MemAvailable:"));
        let group = self.group().and_then(|it| left(&it, &self.groups()));
        system.into_iter().chain(group).min()
    }

    fn stalled(&self) -> Option<f32> {
        let of_group = self.group().map(|it| it.join("memory.pressure"));
        let of_group = of_group.and_then(|it| fs::read_to_string(it).ok());
        stalled(&of_group.or_else(|| self.read("proc/pressure/memory"))?)
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    /// Where version 2 of control groups is mounted.
    fn groups(&self) -> PathBuf {
        self.root.join("sys/fs/cgroup")
    }

    /// The folder of this process's group.
    fn group(&self) -> Option<PathBuf> {
        let groups = self.read("proc/self/cgroup")?;
        Some(self.groups().join(group_folder(&groups)?))
    }
}

/// The share in a file like `/proc/pressure/memory`: `some avg10=1.50 avg60=…`.
fn stalled(text: &str) -> Option<f32> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let average = line.split(' ').find_map(|it| it.strip_prefix("avg10="))?;
    let percent: f32 = average.parse().ok()?;
    percent
        .is_finite()
        .then(|| (percent / 100.0).clamp(0.0, 1.0))
}

/// The bytes after `key` in a file like `/proc/meminfo`.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

/// The folder of this process's group below that of all groups: the line `0::/path` of `/proc/self/cgroup`.
fn group_folder(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::/"))
}

/// The bytes left in `folder`, a group, and those above it up to `root`. The page cache of a group can be given up.
fn left(folder: &Path, root: &Path) -> Option<u64> {
    let groups = folder.ancestors().take_while(|it| it.starts_with(root));
    let left = |group: &Path| {
        let number = |name: &str| {
            let text = fs::read_to_string(group.join(name)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        let limits = [number("memory.max"), number("memory.high")];
        let limit = limits.into_iter().flatten().min()?;
        let statistics = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let cache = statistics.lines().filter_map(|line| {
            let (name, bytes) = line.split_once(' ')?;
            let is_cache = matches!(name, "inactive_file" | "active_file");
            is_cache.then(|| bytes.parse::<u64>().ok()).flatten()
        });
        let used = number("memory.current")?.saturating_sub(cache.sum());
        Some(limit.saturating_sub(used))
    };
    groups.filter_map(left).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory() {
        assert!(available().unwrap() > 1 << 20);
    }

    #[test]
    fn of_nested_groups_the_one_with_the_least_left_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("system.slice/gemmad.service");
        fs::create_dir_all(&inner).unwrap();
        let write =
            |group: &Path, name: &str, text: &str| fs::write(group.join(name), text).unwrap();
        assert_eq!(left(&inner, root.path()), None);
        write(&inner, "memory.max", "max\n");
        write(&inner, "memory.high", "1000\n");
        write(&inner, "memory.current", "900\n");
        write(
            &inner,
            "memory.stat",
            "anon 100\ninactive_file 300\nactive_file 200\n",
        );
        assert_eq!(left(&inner, root.path()), Some(600));
        let outer = inner.parent().unwrap();
        write(outer, "memory.max", "500\n");
        write(outer, "memory.current", "450\n");
        assert_eq!(left(&inner, root.path()), Some(50));
    }

    #[test]
    fn lines_of_the_kernel_are_read() {
        let text = "MemTotal:       24000 kB\nMemAvailable:    1200 kB\n";
        assert_eq!(kilobytes(text, "MemAvailable:"), Some(1200 * 1024));
        assert_eq!(kilobytes(text, "MemFree:"), None);
        assert_eq!(
            group_folder("1:cpu:/x\n0::/user.slice/a\n"),
            Some("user.slice/a")
        );
        let text = "some avg10=31.25 avg60=4.00 avg300=0.90 total=1\nfull avg10=9.00 avg60=0.00 avg300=0.00 total=1\n";
        assert_eq!(stalled(text), Some(0.3125));
        assert_eq!(stalled("some avg10=NaN"), None);
        assert_eq!(stalled(""), None);
    }
}
