//! Memory that this process may take: what is free on the machine, within the limit of the process and what those of the
//! control groups that it is in, which are those of a container, leave.

use std::fs;
use std::path::Path;

/// Bytes that the program takes and no limit counts, its own code above all: a group counts them, too.
#[cfg(target_os = "linux")]
const PROGRAM: u64 = 16 << 20;

/// Returns the bytes that may be taken in all.
#[cfg(target_os = "linux")]
pub fn total() -> u64 {
    use rustix::process::{Resource, getrlimit};
    let machine = free().unwrap_or_else(|| {
        let info = rustix::system::sysinfo();
        (info.totalram as u64).saturating_mul(info.mem_unit.into())
    });
    let process = getrlimit(Resource::As).current.unwrap_or(u64::MAX);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = free_in_groups(&groups, Path::new("/sys/fs/cgroup")).saturating_sub(PROGRAM);
    machine.min(process).min(group - group / 8) // what threads free, their allocators keep a while
}

/// Returns the bytes that may be taken in all.
#[cfg(not(target_os = "linux"))]
pub fn total() -> u64 {
    u64::MAX
}

/// Returns the bytes that the machine can give without swapping; `None` where it does not say.
#[cfg(target_os = "linux")]
fn free() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Files of a control group with its limit and with what it takes, and the line of its statistics that says how much of
/// that are files not in use, which it gives back.
type Names = [&'static str; 3];
const VERSION_2: Names = ["memory.max", "memory.current", "inactive_file "];
const VERSION_1: Names = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "];

/// Returns the least that `groups`, the lines of a process's `cgroup` file, and all groups around them leave, below
/// `root`: version 2 (`0::/path`) and version 1 (`5:memory:/path`).
fn free_in_groups(groups: &str, root: &Path) -> u64 {
    let free = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let (root, names) = match controllers {
            "" => (root.to_owned(), VERSION_2),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (root.join("memory"), VERSION_1)
            }
            _ => return None,
        };
        let own = root.join(path.trim_start_matches('/'));
        let around = own.ancestors().take_while(|folder| folder.starts_with(&root));
        around.filter_map(|folder| free_in_group(folder, names)).min()
    };
    groups.lines().filter_map(free).min().unwrap_or(u64::MAX)
}

/// Returns what the limit of the group `folder` leaves; `None` where it has none.
fn free_in_group(folder: &Path, [limit, usage, inactive]: Names) -> Option<u64> {
    let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok();
    let limit: u64 = number(limit)?;
    let statistics = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let inactive = statistics.lines().find_map(|line| line.strip_prefix(inactive)?.parse().ok());
    let taken = number(usage).unwrap_or(0).saturating_sub(inactive.unwrap_or(0));
    Some(limit.saturating_sub(taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_that_all_groups_around_leave_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, limit: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, limit).unwrap();
        };
        let limit = |groups: &str| free_in_groups(groups, root.path());
        assert_eq!(limit("0::/a/b\n"), u64::MAX);
        write("a/b/memory.max", "max\n");
        assert_eq!(limit("0::/a/b\n"), u64::MAX);
        write("a/memory.max", "1000\n");
        assert_eq!(limit("0::/a/b\n"), 1000);
        write("memory.max", "900\n");
        assert_eq!(limit("0::/a/b\n"), 900);
        assert_eq!(limit("0::/\n"), 900, "as a container sees it");
        write("memory/c/memory.limit_in_bytes", "500\n");
        assert_eq!(limit("3:cpu,memory:/c\n0::/\n"), 500);
        assert_eq!(limit("junk\n3:cpu:/c\n"), u64::MAX);
        write("memory/c/memory.usage_in_bytes", "300\n");
        write("memory/c/memory.stat", "inactive_file 1\ntotal_inactive_file 200\n");
        assert_eq!(limit("3:cpu,memory:/c\n0::/\n"), 400, "files in memory are given back");
        write("a/memory.current", "2000\n");
        assert_eq!(limit("0::/a/b\n"), 0);
    }
}
