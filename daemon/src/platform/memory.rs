//! How much memory the system has left for this process.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that may be allocated without swapping: what the kernel says is available, or less where a control group limits it.
/// `None` where neither is known.
#[must_use]
pub fn available() -> Option<u64> {
    let system = fs::read_to_string("/proc/meminfo").ok();
    let system = system.and_then(|it| kilobytes(&it, "MemAvailable:"));
    let group = fs::read_to_string("/proc/self/cgroup").ok();
    let group = group.and_then(|it| left(&group_folder(&it)?, Path::new(CGROUPS)));
    system.into_iter().chain(group).min()
}

/// Where version 2 of control groups is mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// The bytes after `key` in a file like `/proc/meminfo`.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

/// The folder of this process's group: the line `0::/path` of `/proc/self/cgroup`.
fn group_folder(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(CGROUPS).join(path))
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
            Some("/sys/fs/cgroup/user.slice/a".into())
        );
    }
}
