//! Sockets are opened by `models pull` and `compress -m` of a model that is not here, by nothing else:
//! counted by strace.

use crate::shell::{Shell, end};
use crate::skip::skip;
use crate::tiny;
use std::fs;
use std::process::Command;

/// What each verb is called with, in a folder with `a`, its archive `a.llmz`, `tiny.llmz` of the
/// model in `folder/tiny`, and the damaged `cut.llmz`; with the exit code.
const SILENT: [(i32, &str); 30] = [
    (0, "compress -f a"),
    (0, "compress -c -1 a"),
    (0, "compress -c -m default a"),
    (0, "compress -c -m folder/tiny a"),
    (3, "compress --offline -c -m ORG/NAME a"),
    (0, "decompress -f a.llmz"),
    (0, "decompress -c -m folder/tiny tiny.llmz"),
    (3, "decompress -c tiny.llmz"),
    (3, "decompress -c -m ORG/NAME tiny.llmz"),
    (4, "decompress -c --keep-going cut.llmz"),
    (0, "list a.llmz tiny.llmz"),
    (0, "list --json a.llmz"),
    (0, "test a.llmz"),
    (3, "test tiny.llmz"),
    (4, "test --keep-going cut.llmz"),
    (0, "bench --no-profile a"),
    (3, "bench --no-profile -m ORG/NAME a"),
    (0, "models list"),
    (0, "models info"),
    (3, "models info ORG/NAME"),
    (0, "models verify"),
    (0, "models path"),
    (3, "models path ORG/NAME"),
    (0, "models export folder/tiny -o tiny.tar"),
    (0, "models import tiny.tar"),
    (0, "models rm tiny"),
    (0, "models quantize folder/tiny --int8 -o int8"),
    (3, "models pull --offline ORG/NAME"),
    (0, "completions bash"),
    (0, "man"),
];

/// What may ask the hub.
#[cfg(feature = "hub")]
const ASKING: [&str; 2] = ["models pull ORG/NAME", "compress -c -m ORG/NAME a"];

fn strace_is_here() -> bool {
    let strace = Command::new("strace").args(["-fqq", "-o", "/dev/null", "true"]).output();
    strace.is_ok_and(|output| output.status.success())
}

fn folder() -> Shell {
    let shell = Shell::new();
    shell.write("a", &b"the same words and the same words again, ".repeat(20));
    tiny::write(&shell.path("folder/tiny"), &tiny::files());
    shell.run(&["a"]).expect(0);
    shell.run(&["-o", "tiny.llmz", "--no-mix", "-m", "folder/tiny", "a"]).expect(0);
    let archive = shell.read("a.llmz");
    shell.write("cut.llmz", &archive[..archive.len() - 1]);
    shell
}

/// System calls that open or use a socket of the internet; its hub is a port that nothing listens on.
fn network_calls(shell: &Shell, line: &str, code: i32) -> Vec<String> {
    let program = shell.command::<&str>(&[]);
    let mut command = Command::new("strace");
    command.args(["-fqq", "-e", "trace=%network", "-o", "trace", env!("CARGO_BIN_EXE_llmzip")]);
    command.args(line.split(' ')).current_dir(shell.path(""));
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("HF_ENDPOINT", "http://127.0.0.1:9");
    let ended = end(command);
    assert_eq!(ended.code, Some(code), "{line}: {}", ended.stderr);
    let trace = fs::read_to_string(shell.path("trace")).unwrap();
    let internet = trace.lines().filter(|line| line.contains("AF_INET"));
    internet.map(String::from).collect()
}

#[test]
fn only_downloads_touch_the_network() {
    if !strace_is_here() {
        return skip("no strace that works");
    }
    let shell = folder();
    for (code, line) in SILENT {
        let calls = network_calls(&shell, line, code);
        assert!(calls.is_empty(), "{line}: {calls:?}");
    }
    println!("{} calls without a socket", SILENT.len());
}

/// So that the other test can fail.
#[cfg(feature = "hub")]
#[test]
fn downloads_are_seen() {
    if !strace_is_here() {
        return skip("no strace that works");
    }
    let shell = folder();
    for line in ASKING {
        assert!(!network_calls(&shell, line, 1).is_empty(), "{line}");
    }
}
