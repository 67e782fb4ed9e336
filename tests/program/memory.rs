//! Limits of control groups, as containers have them: the work fits in them, or is refused with what it would take. The
//! system never ends the program for them.
//!
//! Normal tests take half of the limits, `LLMZIP_SWEEPS=full` all.

use crate::random::Random;
use crate::share;
use crate::shell::{Ended, Shell, end};
use crate::skip::skip;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A control group of version 1 or 2 below this process's root, that goes away with this value.
struct Group {
    folder: PathBuf,
    limit: &'static str,
}

impl Group {
    /// Makes a group; `None` where that cannot be.
    fn new() -> Option<Self> {
        let name = format!("llmzip-test-{}", std::process::id());
        let root = Path::new("/sys/fs/cgroup");
        for (folder, limit) in [
            (root.join("memory").join(&name), "memory.limit_in_bytes"),
            (root.join(&name), "memory.max"),
        ] {
            if fs::create_dir(&folder).is_err() {
                continue;
            }
            let group = Self { folder, limit };
            if group.set(1 << 30) && group.starts("true") {
                return Some(group);
            }
        }
        None
    }

    fn set(&self, bytes: u64) -> bool {
        fs::write(self.folder.join(self.limit), bytes.to_string()).is_ok()
    }

    /// A command that runs `program` in the group.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]);
        command.arg(self.folder.join("cgroup.procs")).arg(program);
        command
    }

    fn starts(&self, program: &str) -> bool {
        self.command(program).output().is_ok_and(|output| output.status.success())
    }

    fn run(&self, shell: &Shell, arguments: &[&str]) -> Ended {
        let mut command = self.command(env!("CARGO_BIN_EXE_llmzip"));
        command.args(arguments).current_dir(shell.path("")).env("HOME", shell.path("home"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        end(command)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.folder));
    }
}

/// Words in random order: each byte has contexts of its own.
fn words(n: usize) -> Vec<u8> {
    let mut random = Random::new(9);
    let mut text = Vec::new();
    while text.len() < n {
        let word = random.bits() % 5000;
        text.extend(format!("{:x} ", word * word * 7919).bytes());
    }
    text
}

#[test]
fn the_limit_of_a_control_group_is_kept() {
    let Some(group) = Group::new() else {
        return skip("no right to make a control group with a limit on memory");
    };
    let shell = Shell::new();
    shell.write("a", &words(15_000));
    shell.write("long", &words(600_000));
    shell.run(&["-6", "a"]).expect(0);
    shell.run(&["-1", "long"]).expect(0);
    let mut refused = 0;
    for mebibytes in [256, 128, 64, 32].into_iter().step_by(share::step(2)) {
        assert!(group.set(mebibytes << 20));
        for (arguments, out) in [
            (&["-1", "-c", "a"][..], false),
            (&["-3", "-T16", "--chunk-size=100K", "-c", "long"], false),
            (&["-1", "-c", "long"], false),
            (&["-6", "-T1", "-c", "a"], false),
            (&["-dc", "-T1", "a.llmz"], true),
            (&["-dc", "long.llmz"], true),
            (&["-l", "a.llmz", "long.llmz"], true),
        ] {
            let ended = group.run(&shell, arguments);
            let case = format!("{mebibytes} MiB, {arguments:?}: {}", ended.stderr);
            match ended.code {
                Some(0) => assert!(out || !ended.stdout.is_empty(), "{case}"),
                Some(5) => {
                    assert!(ended.stderr.contains("--memlimit"), "{case}");
                    assert!(mebibytes < 256 && ended.stderr.contains("KiB"), "{case}");
                    refused += 1;
                }
                _ => panic!("{case}"),
            }
        }
    }
    assert!(refused > 0, "no limit was too low");
    assert_eq!(shell.names(), ["a", "a.llmz", "long", "long.llmz"]);
}
