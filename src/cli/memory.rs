//! Memory that this process may take: what is free on the machine, within the limits of the process and of the
//! control groups that it is in, which are those of a container.

use std::fs;
use std::path::Path;

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
    machine.min(process).min(limit_of_groups(&groups, Path::new("/sys/fs/cgroup")))
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

/// Returns the lowest limit of `groups`, the lines of a process's `cgroup` file, and of all groups
/// around them, below `root`: version 2 (`0::/path`) and version 1 (`5:memory:/path`).
fn limit_of_groups(groups: &str, root: &Path) -> u64 {
    let limit = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let (root, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let own = root.join(path.trim_start_matches('/'));
        let around = own.ancestors().take_while(|folder| folder.starts_with(&root));
        around.filter_map(|folder| limit_in(&folder.join(file))).min()
    };
    groups.lines().filter_map(limit).min().unwrap_or(u64::MAX)
}

/// Returns the limit in `file`; `None` where that is not there, or says `max`.
fn limit_in(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_of_all_groups_around_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, limit: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, limit).unwrap();
        };
        let limit = |groups: &str| limit_of_groups(groups, root.path());
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
    }
}
