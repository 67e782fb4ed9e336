//! The edges of a process: streams that are closed, shared or not wanted any more, signals, threads
//! that do not start.

use crate::random::Random;
use crate::shell::{Ended, Shell, end};
use crate::skip::skip;
use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_llmzip");

/// More than a pipe holds, of bytes that do not shrink.
fn noise() -> Vec<u8> {
    let mut random = Random::new(5);
    (0..400_000).map(|_| random.bits() as u8).collect()
}

/// Runs `script` in the folder of `shell`, with the program and `arguments` as its arguments.
fn script<S: AsRef<str>>(shell: &Shell, script: &str, arguments: &[S]) -> Ended {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", PROGRAM]).args(arguments.iter().map(AsRef::as_ref));
    command.current_dir(shell.path("")).env("HOME", shell.path("home"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    end(command)
}

/// Words that a line has between spaces.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let shell = Shell::new();
    shell.write("a", &noise());
    shell.run(&["-1", "--no-verify", "a"]).expect(0);
    for arguments in ["-1c a", "-dc a.llmz", "-d -o /dev/stdout a.llmz"] {
        let mut child = shell.command(&words(arguments)).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0]).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.signal(), Some(Signal::PIPE.as_raw()), "{arguments}: {output:?}");
        assert!(output.stderr.is_empty(), "{arguments}: {output:?}");
    }
}

#[test]
fn tar_stops_reading_when_it_has_what_it_wants() {
    let shell = Shell::new();
    fs::create_dir(shell.path("d")).unwrap();
    shell.write("d/f1", b"first");
    shell.write("d/f2", &noise());
    let packed = script(&shell, "tar -I \"$*\" -cf d.tar.llmz d/f1 d/f2", &["-1"]);
    if packed.code != Some(0) {
        return skip("no GNU tar");
    }
    fs::remove_dir_all(shell.path("d")).unwrap();
    script(&shell, "tar -I \"$1\" -xf d.tar.llmz --occurrence=1 d/f1", &[""; 0]).expect(0);
    assert_eq!(shell.read("d/f1"), b"first");
}

#[test]
fn closed_streams_are_errors() {
    let shell = Shell::new();
    shell.write("a", b"text");
    shell.run(&["-1", "a"]).expect(0);
    for arguments in [
        "-1 -c a",
        "-dc a.llmz",
        "-1 -f -o - a",
        "-l a.llmz",
        "-l --json a.llmz",
        "-t --json a.llmz",
        "models list",
        "models list --json",
        "models path",
        "bench -1 --no-profile a",
        "completions bash",
        "man",
        "--help",
        "--version",
    ] {
        let ended = script(&shell, "exec \"$@\" >&-", &words(arguments));
        assert_eq!(ended.code, Some(1), "{arguments}");
        ended.saying("standard output is closed");
    }
    for arguments in ["-1", "-1 -c", "-1 -c -", "-d", "-t", "-l", "--files-from -"] {
        let ended = script(&shell, "exec \"$@\" <&-", &words(arguments));
        assert_eq!(ended.code, Some(1), "{arguments}");
        assert!(ended.stdout.is_empty(), "{arguments}");
        ended.saying("standard input is closed");
    }
    assert_eq!(shell.names(), ["a", "a.llmz"]);
    for given in ["<&- >&-", "<&- 2>&-", "<>/dev/null >/dev/null 2>&-"] {
        let ended = script(&shell, &format!("exec \"$@\" {given}"), &words("-1 -f a"));
        assert_eq!(ended.code, Some(0), "{given} are not used");
    }
    for given in ["1<>/dev/null", ">/dev/null"] {
        script(&shell, &format!("exec \"$@\" {given}"), &words("-dc a.llmz")).expect(0);
    }
}

#[test]
fn streams_that_do_not_block_are_waited_for() {
    let shell = Shell::new();
    let plain = noise();
    let pipe = || pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
    let ((in_read, in_write), (out_read, out_write)) = (pipe(), pipe());
    let mut command = shell.command(&["-1", "--no-verify"]);
    let mut child = command.stdin(in_read).stdout(out_write).spawn().unwrap();
    drop(command); // with this side's copies
    let (mut to, mut from) = (File::from(in_write), File::from(out_read));
    for own in [&to, &from] {
        rustix::fs::fcntl_setfl(own, OFlags::empty()).unwrap(); // not the child's ends
    }
    std::thread::sleep(Duration::from_millis(200)); // it finds its input empty
    let input = plain.clone();
    let writer = std::thread::spawn(move || to.write_all(&input).unwrap());
    writer.join().unwrap();
    std::thread::sleep(Duration::from_millis(600)); // it finds its output full
    let mut archive = Vec::new();
    from.read_to_end(&mut archive).unwrap();
    assert!(child.wait().unwrap().success());
    shell.write("a.llmz", &archive);
    assert!(shell.run(&["-dc", "a.llmz"]).expect(0).stdout == plain);
}

#[test]
fn no_signal_leaves_the_unfinished_file() {
    let env = Command::new("env").args(["--default-signal", "true"]).output();
    if !env.is_ok_and(|output| output.status.success()) {
        return skip("no env that resets signals");
    }
    for signal in [
        Signal::INT,
        Signal::TERM,
        Signal::HUP,
        Signal::QUIT,
        Signal::ABORT,
        Signal::XCPU,
        Signal::ALARM,
        Signal::VTALARM,
        Signal::PROF,
        Signal::USR1,
        Signal::USR2,
    ] {
        let shell = Shell::new();
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -c 0; exec env --default-signal \"$@\"", "sh", PROGRAM]);
        command.args(["-1", "-o", "out"]).current_dir(shell.path(""));
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        while shell.names().is_empty() {
            std::thread::yield_now(); // until the unfinished file is there
        }
        let stdin = child.stdin.take(); // open, so that the work does not end
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status:?}");
        assert!(shell.names().is_empty(), "{signal:?} left {:?}", shell.names());
        drop(stdin);
    }
}

/// Runs the program under strace, with `faults` in its system calls.
fn with_faults(shell: &Shell, faults: &[&str], arguments: &str) -> Ended {
    let mut command = Command::new("strace");
    command.args(["-fqq", "-o", "/dev/null"]);
    for fault in faults {
        command.args(["-e", &format!("inject={fault}")]);
    }
    command.arg(PROGRAM).args(words(arguments)).current_dir(shell.path(""));
    command.env("HOME", shell.path("home"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    end(command)
}

#[test]
fn threads_that_do_not_start_are_done_without() {
    let shell = Shell::new();
    shell.write("a", b"some text");
    let strace = Command::new("strace").args(["-fqq", "-o", "/dev/null", "true"]).output();
    if !strace.is_ok_and(|output| output.status.success()) {
        return skip("no strace that works");
    }
    for arguments in ["-1 -T 4 a", "-l a", "bench -1 a"] {
        let ended = with_faults(&shell, &["clone3,clone:error=EAGAIN"], arguments);
        ended.expect(1).saying("Resource temporarily unavailable");
    }
    assert_eq!(shell.names(), ["a"]);
    // The first one waits for signals, three of four for work.
    let ended = with_faults(&shell, &["clone3,clone:error=EAGAIN:when=5"], "-1 -T 4 a");
    ended.expect(0);
    assert_eq!(shell.names(), ["a", "a.llmz"]);
}

/// Under a limit on a user's processes, which threads are: by a user that has no others.
#[test]
fn as_many_threads_are_used_as_start() {
    let shell = Shell::new();
    fs::create_dir(shell.path("d")).unwrap();
    shell.write("d/a", &b"some text, ".repeat(1000));
    for (name, mode) in [(".", 0o755), ("d", 0o755), ("d/a", 0o644)] {
        fs::set_permissions(shell.path(name), Permissions::from_mode(mode)).unwrap();
    }
    let run = |limit: usize, arguments: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65533", "--regid=65533", "--clear-groups", "bash", "-c"]);
        command.arg(format!("ulimit -u {limit}; exec \"$0\" {arguments}")).arg(PROGRAM);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        end(command.current_dir(shell.path("")).env_clear())
    };
    if run(100, "-1 -c d/a").code != Some(0) {
        return skip("no setpriv that may become another user");
    }
    // One is the program's first, one waits for signals.
    for limit in 3..=12 {
        let archive = run(limit, "-1 -T 8 -c d/a").expect(0).stdout;
        assert!(shell.pipe(&["-dc"], &archive).expect(0).stdout == shell.read("d/a"));
    }
    run(2, "-1 -T 8 -c d/a").expect(1).saying("Resource temporarily unavailable");
    for limit in 1..=12 {
        let ended = run(limit, "-1 -T 8 -c d");
        if ended.code != Some(0) {
            ended.expect(1).saying("Resource temporarily unavailable");
        }
    }
}

#[test]
fn an_open_file_is_written_into_where_it_stands() {
    let shell = Shell::new();
    shell.write("a", b"some text");
    let archive = shell.run(&["-1", "-c", "a"]).expect(0).stdout;
    let expected = [b"old\n", &archive[..], b"more\n"].concat();
    for (before, open) in [("old\n", "3>>file"), ("", "3>file; echo old >&3")] {
        shell.write("file", before.as_bytes());
        let line = format!("exec {open}; \"$@\" && echo more >&3");
        script(&shell, &line, &["-1", "-f", "-o", "/dev/fd/3", "a"]).expect(0);
        assert!(shell.read("file") == expected, "{open}");
    }
    script(&shell, "exec \"$@\" 3>&-", &["-1", "-f", "-o", "/dev/fd/3", "a"]).expect(1);
    shell.write("kept", b"kept");
    let archive = shell.run(&["-1", "-c", "a"]).expect(0).stdout;
    let script_line = "exec \"$@\" 2>>kept";
    script(&shell, script_line, &["-1", "-q", "-f", "-o", "/dev/stderr", "a"]).expect(0);
    assert_eq!(shell.read("kept"), [&b"kept"[..], &archive].concat());
}
