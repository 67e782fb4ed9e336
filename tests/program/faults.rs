//! Kills, full disks, failing system calls: nothing stands under a final name unless it is complete,
//! and no input is lost.
//!
//! Normal tests take a share; `LLMZIP_SWEEPS=full` (`just sweeps`) takes all and prints how many.

use crate::random::Random;
use crate::share;
use crate::shell::{Ended, Shell, end};
use crate::skip::skip;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_llmzip");

/// Both directions: arguments, input and output.
const WAYS: [(&[&str], &str, &str); 2] =
    [(&["-2", "--chunk-size=4K", "a"], "a", "a.llmz"), (&["-d", "b.llmz"], "b.llmz", "b")];

/// Runs in a folder with `a`, which shrinks to some of its size, and its archive `b.llmz`.
struct Runs {
    shell: Shell,
    /// The right outputs, as [`WAYS`].
    expected: [Vec<u8>; 2],
}

impl Runs {
    fn new(n: usize) -> Self {
        let shell = Shell::new();
        let mut random = Random::new(3);
        let line = |_| format!("{} of the lighthouse\n", random.bits() % 1_000_000);
        let plain = (0..n / 25).map(line).collect::<String>().into_bytes();
        shell.write("a", &plain);
        shell.run(&["-2", "--chunk-size=4K", "-o", "b.llmz", "a"]).expect(0);
        let archive = shell.read("b.llmz");
        Self { shell, expected: [archive, plain] }
    }

    /// Asserts that way `way` left its input as it was, and its output complete or not at all; removes
    /// the output. Other files are left only where `may_leave` some; those go, too.
    fn check(&self, way: usize, is_done: bool, may_leave: bool, case: &str) {
        let (_, input, output) = WAYS[way];
        assert!(self.shell.read(input) == self.expected[1 - way], "{case}: the input changed");
        let mut names = self.shell.names();
        if let Some(at) = names.iter().position(|name| name == output) {
            assert!(self.shell.read(output) == self.expected[way], "{case}: a partial output");
            fs::remove_file(self.shell.path(output)).unwrap();
            names.remove(at);
        } else {
            assert!(!is_done, "{case}: success without output");
        }
        names.retain(|name| name != "a" && name != "b.llmz");
        assert!(may_leave || names.is_empty(), "{case}: left {names:?}");
        for name in names {
            assert!(name.starts_with(".llmzip-") && name.ends_with(".tmp"), "{case}: {name}");
            fs::remove_file(self.shell.path(name)).unwrap();
        }
    }
}

/// `command` with the signals as a shell in the foreground gives them, whoever started the tests.
fn with_signals(command: &Command) -> Command {
    let mut with_signals = Command::new("env");
    with_signals.arg("--default-signal=INT,TERM,HUP").arg(command.get_program());
    with_signals.args(command.get_args()).current_dir(command.get_current_dir().unwrap());
    with_signals.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    with_signals
}

#[test]
fn a_kill_at_any_time_leaves_nothing_partial() {
    let env = Command::new("env").args(["--default-signal=INT", "true"]).output();
    if !env.is_ok_and(|output| output.status.success()) {
        return skip("no env that resets signals");
    }
    let runs = Runs::new(40_000);
    let mut random = Random::new(1);
    let begin = Instant::now();
    runs.shell.run(WAYS[0].0).expect(0);
    let usual = begin.elapsed().as_micros() as u64;
    runs.check(0, true, false, "before all kills");
    let (cases, mut n_stopped, mut n_left) = (share::cases(1002, 40), 0, 0);
    for case in 0..cases {
        let (way, signal) = (case % 2, [Signal::TERM, Signal::INT, Signal::KILL][case % 3]);
        let mut child = with_signals(&runs.shell.command(WAYS[way].0)).spawn().unwrap();
        let delay = Duration::from_micros(random.bits() % (usual + usual / 4));
        std::thread::sleep(delay);
        let _ = kill_process(Pid::from_child(&child), signal);
        let status = child.wait().unwrap();
        // Before it watches for signals, one ends the process at once.
        let is_stopped = status.signal().is_some() || status.code() == Some(128 + signal.as_raw());
        assert!(status.success() || is_stopped, "{status:?}");
        n_stopped += u32::from(is_stopped);
        n_left += u32::from(runs.shell.names().iter().any(|name| name.ends_with(".tmp")));
        let may_leave = signal == Signal::KILL;
        runs.check(way, status.success(), may_leave, &format!("{signal:?} after {delay:?}"));
    }
    println!(
        "{cases} kills, {n_stopped} before the end: nothing partial; {n_left} SIGKILLs left a .tmp"
    );
    assert!(n_stopped > 0, "no kill came in time");
}

fn strace_is_here() -> bool {
    let strace = Command::new("strace").args(["-fqq", "-o", "/dev/null", "true"]).output();
    strace.is_ok_and(|output| output.status.success())
}

/// Runs way `way` under strace, with `fault` injected in its system calls.
fn with_fault(runs: &Runs, way: usize, fault: &str) -> Ended {
    let mut command = Command::new("strace");
    command.args(["-fqq", "-o", "/dev/null", "-e", fault, PROGRAM]).args(WAYS[way].0);
    command.current_dir(runs.shell.path("")).env("HOME", runs.shell.path("home"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    end(command)
}

#[test]
fn system_calls_that_fail_leave_nothing_partial() {
    let runs = Runs::new(30_000);
    if !strace_is_here() {
        return skip("no strace that works");
    }
    let calls = [
        ("write", "EIO", 12),
        ("write", "ENOSPC", 12),
        ("read", "EIO", 40),
        ("fsync", "EIO", 2),
        ("fchown", "EPERM", 1),
        ("fchmod", "EPERM", 1),
        ("utimensat", "EPERM", 1),
        ("renameat2,rename,renameat,linkat,link", "EIO", 2),
        ("openat", "EMFILE", 16),
        ("lseek", "EIO", 6),
    ];
    let (mut n, mut n_failed) = (0, 0);
    for (way, (arguments, ..)) in WAYS.into_iter().enumerate() {
        for (call, error, most) in calls {
            for when in (1..=most).step_by(share::step(9)) {
                let fault = format!("inject={call}:error={error}:when={when}");
                let ended = with_fault(&runs, way, &fault);
                let case = format!("{fault}, {arguments:?}: {}", ended.stderr);
                assert!(!ended.stderr.contains("panicked"), "{case}");
                runs.check(way, ended.code == Some(0), false, &case);
                n += 1;
                n_failed += u32::from(ended.code != Some(0));
            }
        }
    }
    println!("{n} failing system calls, {n_failed} ended the program: nothing partial");
    assert!(n_failed > 0, "no system call failed");
}

/// Runs way `way` in a shell after `limit`.
fn with_limit(runs: &Runs, way: usize, limit: &str) -> Ended {
    let mut command = Command::new("sh");
    command.current_dir(runs.shell.path("")).env("HOME", runs.shell.path("home"));
    command.args(["-c", &format!("{limit}; exec \"$@\""), "sh", PROGRAM]).args(WAYS[way].0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    end(command)
}

#[test]
fn mode_time_and_owner_are_on_disk_before_the_name() {
    let runs = Runs::new(600);
    if !strace_is_here() {
        return skip("no strace that works");
    }
    let mut command = Command::new("strace");
    let calls = "trace=fchown,fchmod,utimensat,fsync,renameat2,rename,renameat,linkat,link";
    command.args(["-fqq", "-o", "trace", "-e", calls, PROGRAM]).args(WAYS[0].0);
    command.current_dir(runs.shell.path("")).env("HOME", runs.shell.path("home"));
    end(command).expect(0);
    let trace = String::from_utf8(runs.shell.read("trace")).unwrap();
    let at = |call: &str| trace.find(call).unwrap_or_else(|| panic!("no {call} in {trace}"));
    assert!(at("fchmod(") < at("fsync(") && at("utimensat(") < at("fsync("), "{trace}");
    assert!(at("fchown(") < at("fsync("), "{trace}");
    assert!(at("fsync(") < at("a.llmz\""), "{trace}");
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error() {
    let runs = Runs::new(30_000);
    for way in 0..WAYS.len() {
        with_limit(&runs, way, "ulimit -f 1").expect(1).saying("File too large");
        runs.check(way, false, false, "ulimit -f 1");
    }
}

#[test]
fn a_limit_on_memory_leaves_nothing_partial() {
    let runs = Runs::new(30_000);
    let (mut n, mut n_failed) = (0, 0);
    for way in 0..WAYS.len() {
        for megabytes in (8..400).step_by(7 * share::step(7)) {
            let limit = format!("ulimit -v {}", megabytes << 10);
            let ended = with_limit(&runs, way, &limit);
            // Where memory ends the system ends the program, as with SIGKILL.
            runs.check(way, ended.code == Some(0), true, &format!("{limit}: {}", ended.stderr));
            n += 1;
            n_failed += u32::from(ended.code != Some(0));
        }
    }
    println!("{n} limits on memory, {n_failed} too low: nothing partial");
    assert!(n_failed > 0, "no limit was too low");
}

#[test]
fn a_full_disk_leaves_nothing() {
    let runs = Runs::new(90_000);
    fs::create_dir(runs.shell.path("disk")).unwrap();
    let mount = "mount -t tmpfs -o size=4k tmpfs disk";
    let in_namespace = |script: &str, arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", script, "sh", PROGRAM]).args(arguments);
        command.current_dir(runs.shell.path("")).env("HOME", runs.shell.path("home"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let works = in_namespace(mount, &[]).output();
    if !works.is_ok_and(|output| output.status.success()) {
        return skip("no right to mount a tmpfs in a namespace");
    }
    let script = format!("{mount} && {{ \"$@\" -o disk/out; code=$?; ls -A disk; exit $code; }}");
    for (arguments, _, _) in WAYS {
        let ended = end(in_namespace(&script, arguments)).expect(1).saying("No space left");
        assert!(ended.stdout.is_empty(), "{}", String::from_utf8_lossy(&ended.stdout));
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_is_an_error() {
    let runs = Runs::new(600);
    runs.shell.run(&["-o", "/proc/out", "a"]).expect(1).saying("/proc/out");
    fs::create_dir(runs.shell.path("folder")).unwrap();
    fs::set_permissions(runs.shell.path("folder"), Permissions::from_mode(0o555)).unwrap();
    if rustix::process::geteuid().is_root() {
        return skip("root, who writes to read-only folders");
    }
    runs.shell.run(&["-o", "folder/out", "a"]).expect(1).saying("folder/out");
    assert!(fs::read_dir(runs.shell.path("folder")).unwrap().next().is_none());
}

#[test]
fn an_output_that_appears_meanwhile_is_not_overwritten() {
    let shell = Shell::new();
    let mut child =
        shell.command(&["-o", "out"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while shell.names().is_empty() {
        std::thread::yield_now(); // until the unfinished file is there
    }
    shell.write("out", b"precious");
    child.stdin.take().unwrap().write_all(b"text").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(shell.names(), ["out"]);
    assert_eq!(shell.read("out"), b"precious");
}

#[test]
fn an_input_that_changes_meanwhile_leaves_no_output() {
    for change in
        ["truncate -s 10 a", "printf more >> a", "printf X | dd of=a conv=notrunc status=none"]
    {
        let runs = Runs::new(60_000);
        let mut child = runs.shell.command(&["-9", "a"]).stderr(Stdio::null()).spawn().unwrap();
        while runs.shell.names().len() < 3 {
            std::thread::yield_now(); // until the unfinished file is there
        }
        in_shell(&runs, change);
        assert_eq!(child.wait().unwrap().code(), Some(1), "{change}");
        assert_eq!(runs.shell.names(), ["a", "b.llmz"], "{change}");
    }
}

/// Runs `line` in the folder of `runs`.
fn in_shell(runs: &Runs, line: &str) {
    let mut sh = Command::new("sh");
    sh.current_dir(runs.shell.path("")).args(["-c", line]);
    assert_eq!(end(sh).code, Some(0), "{line}");
}

#[test]
fn an_input_that_is_replaced_meanwhile_is_not_removed() {
    for (change, left) in [
        ("mv a a.1; printf new > a", &["a", "a.1", "a.llmz", "b.llmz"][..]),
        ("mv a a.1; ln -s a.1 a", &["a", "a.1", "a.llmz", "b.llmz"]),
        ("mv a a.1", &["a.1", "a.llmz", "b.llmz"]),
    ] {
        let runs = Runs::new(60_000);
        let mut command = runs.shell.command(&["--rm", "-9", "a"]);
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        while runs.shell.names().len() < 3 {
            std::thread::yield_now(); // until the unfinished file is there
        }
        in_shell(&runs, change);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{change}: {said}");
        assert!(said.contains("is not removed"), "{change}: {said}");
        assert_eq!(runs.shell.names(), left, "{change}");
        assert!(runs.shell.read("a.1") == runs.expected[1], "{change}");
        assert!(runs.shell.run(&["-dc", "a.llmz"]).expect(0).stdout == runs.expected[1]);
    }
}

/// The input changes when it was read and the archive has its name.
#[test]
fn an_input_that_changes_after_it_was_read_is_not_removed() {
    if !strace_is_here() {
        return skip("no strace that works");
    }
    for change in ["printf more >> a", "mv a a.1; printf new > a"] {
        let runs = Runs::new(600);
        let folder_is_synchronised_late = "inject=fsync:delay_enter=2000000:when=2";
        let mut command = Command::new("strace");
        command.args(["-fqq", "-o", "/dev/null", "-e", folder_is_synchronised_late, PROGRAM]);
        command.args(["--rm", "-2", "--chunk-size=4K", "a"]).stderr(Stdio::piped());
        command.current_dir(runs.shell.path("")).env("HOME", runs.shell.path("home"));
        let child = command.spawn().unwrap();
        while !runs.shell.path("a.llmz").exists() {
            std::thread::yield_now();
        }
        in_shell(&runs, change);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{change}: {said}");
        assert!(said.contains("is not removed"), "{change}: {said}");
        assert!(runs.shell.path("a").exists(), "{change}");
        assert!(runs.shell.read("a.llmz") == runs.expected[0], "{change}");
    }
}
