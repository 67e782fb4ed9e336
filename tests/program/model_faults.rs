//! System calls that fail in calls that make models and steering vectors, take them in, hand them out or remove them:
//! nothing stands under a final name unless it is complete, and nothing is left beside it.
//!
//! Normal tests take a share; `LLMZIP_SWEEPS=full` (`just sweeps`) takes all and prints how many.

use crate::share;
use crate::shell::{Ended, Shell, end};
use crate::skip::skip;
use crate::tiny;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A call, and those that come before it.
struct Call {
    before: &'static [&'static [&'static str]],
    arguments: &'static [&'static str],
    /// Calls of each kind that fail in turn.
    most: usize,
}

const IMPORT: &[&str] = &["models", "import", "tiny"];
const EXPORT: &[&str] = &["models", "export", "tiny", "-o", "out.tar"];

const CALLS: [Call; 6] = [
    Call { before: &[], arguments: IMPORT, most: 30 },
    Call { before: &[EXPORT], arguments: &["models", "import", "out.tar"], most: 30 },
    Call { before: &[IMPORT], arguments: EXPORT, most: 20 },
    Call {
        before: &[],
        arguments: &["models", "quantize", "tiny", "--int8", "-o", "new"],
        most: 20,
    },
    Call {
        before: &[],
        arguments: &["train", "--size=tiny", "--steps=1", "-T1", "-o", "new", "text"],
        most: 24,
    },
    Call {
        before: &[],
        arguments: &[
            "steer",
            "train",
            "text",
            "-m",
            "tiny",
            "-k=1",
            "--steps=1",
            "--piece=200",
            "-T1",
            "-o",
            "new.steer",
        ],
        most: 8,
    },
];

const FAULTS: [(&str, &str); 10] = [
    ("write", "ENOSPC"),
    ("write", "EIO"),
    ("write", "EINTR"),
    ("openat", "EACCES"),
    ("openat", "EMFILE"),
    ("rename,renameat,renameat2", "EIO"),
    ("fsync", "EIO"),
    ("mkdir,mkdirat", "ENOSPC"),
    ("ftruncate", "EIO"),
    ("copy_file_range,sendfile", "EIO"),
];

/// Files that are another each time, or that others may find: locks, records of digests, clocks.
const OTHER: [&str; 6] =
    ["README.md", "curve.svg", "curve.csv", "checkpoint.safetensors", ".digests", "lock"];

/// A folder with a model in `tiny`, a text in `text` and what `calls` make.
fn prepared(calls: &[&[&str]]) -> Shell {
    let shell = Shell::new();
    shell.write("text", "the same words and again, ".repeat(200).as_bytes());
    tiny::write(&shell.path("tiny"), &tiny::files());
    calls.iter().for_each(|call| drop(shell.run(call).expect(0)));
    shell
}

/// All files with their content, by path.
fn files(folder: &Path, name: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder.join(name)).unwrap() {
        let entry = entry.unwrap();
        let file = entry.file_name().into_string().unwrap();
        let name = format!("{name}/{file}");
        match entry.file_type().unwrap() {
            _ if OTHER.contains(&&file[..]) => (),
            kind if kind.is_dir() && file.starts_with(".llmzip-") => {
                drop(found.insert(name, Vec::new()))
            }
            kind if kind.is_dir() => files(folder, &name, found),
            _ => drop(found.insert(name, fs::read(entry.path()).unwrap_or_default())),
        }
    }
}

fn files_of(shell: &Shell) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    files(&shell.path(""), ".", &mut found);
    found
}

/// Options of strace: only the calls that are named stop the program.
const STRACE: [&str; 4] = ["-fqq", "--seccomp-bpf", "-o", "/dev/null"];

/// Runs `program` under strace with `fault` in its system calls; `None` without strace.
fn with_fault(fault: &str, program: &Command) -> Option<Ended> {
    with_faults(&[fault], &[], program)
}

/// Runs `program` under strace with `faults` in its system calls, and more `options` of strace; `None` without strace.
fn with_faults(faults: &[&str], options: &[&str], program: &Command) -> Option<Ended> {
    let strace = Command::new("strace").args(STRACE).arg("true").output();
    if !strace.is_ok_and(|output| output.status.success()) {
        skip("no strace that works");
        return None;
    }
    let mut command = Command::new("strace");
    let calls: Vec<&str> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
    command.args(STRACE).args(options).args(["-e", &format!("trace={}", calls.join(","))]);
    command.args(faults.iter().flat_map(|fault| ["-e".into(), format!("inject={fault}")]));
    command.arg(program.get_program()).args(program.get_args());
    command.current_dir(program.get_current_dir().unwrap());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(end(command))
}

#[test]
fn system_calls_that_fail_leave_no_half_of_a_model() {
    let (mut n, mut n_failed) = (0, 0);
    for (number, Call { before, arguments, most }) in CALLS.into_iter().enumerate() {
        let shell = prepared(before);
        shell.run(arguments).expect(0);
        let good = files_of(&shell);
        for (kind, (call, error)) in FAULTS.into_iter().enumerate() {
            // Another first call each time, so that a share is spread over all.
            let step = share::step(50);
            for when in (1 + (number + 3 * kind) % step..=most).step_by(step) {
                let fault = format!("{call}:error={error}:when={when}");
                let shell = prepared(before);
                let Some(ended) = with_fault(&fault, &shell.command(arguments)) else { return };
                let case = format!("{fault}, {arguments:?}: {}", ended.stderr);
                assert!(ended.code.is_some() && !ended.stderr.contains("panicked"), "{case}");
                let found = files_of(&shell);
                for (name, bytes) in &found {
                    let expected = good.get(name).unwrap_or_else(|| panic!("left {name}: {case}"));
                    assert!(bytes == expected, "{name} is not whole: {case}");
                }
                if ended.code == Some(0) {
                    assert!(found.len() == good.len(), "success without all files: {case}");
                }
                assert!(error != "EINTR" || ended.code == Some(0), "{case}");
                n += 1;
                n_failed += u32::from(ended.code != Some(0));
            }
        }
    }
    println!("{n} failing system calls, {n_failed} ended the program: no half of a model");
    assert!(n_failed > 0, "no system call failed");
}

/// A file that cannot be read is not said to be one that cannot be written.
#[test]
fn reading_that_fails_is_called_so() {
    let mut n_failed = 0;
    for (call, from) in [(EXPORT, "tiny"), (IMPORT, "tiny")] {
        for when in 1..=8 {
            let shell = prepared(&[]);
            let from = shell.path(from).join("model.safetensors");
            let fault = format!("read,pread64:error=EIO:when={when}");
            let options = ["-P", from.to_str().unwrap()];
            let Some(ended) = with_faults(&[&fault], &options, &shell.command(call)) else {
                return;
            };
            if ended.code == Some(0) {
                continue;
            }
            let said = &ended.stderr;
            assert!(said.contains("model.safetensors"), "{fault}, {call:?}: {said}");
            assert!(!said.contains("writing"), "{fault}, {call:?}: {said}");
            n_failed += 1;
        }
    }
    assert!(n_failed > 2, "{n_failed} of the readings failed");
}

/// What is complete stays in the folder of a training run that a signal ends, so that it can be resumed.
#[test]
fn a_signal_leaves_no_draft_of_a_training_run() {
    let shell = prepared(&[]);
    let train = ["train", "--size=tiny", "--steps=1", "-T1", "-o", "new", "text"];
    // It comes when a draft is written, and is handled before the draft would get its name.
    let faults = ["fsync:signal=TERM:when=1", "rename,renameat,renameat2:delay_enter=2000000"];
    let Some(ended) = with_faults(&faults, &[], &shell.command(&train)) else { return };
    assert_eq!(ended.code, None, "{}", ended.stderr);
    assert_eq!(fs::read_dir(shell.path("new")).unwrap().count(), 0, "a draft is left");
}

/// What cannot be removed has another name at least, and goes with the next call.
#[test]
fn a_model_that_is_removed_only_in_part_is_none() {
    for when in 1..=5 {
        let shell = prepared(&[IMPORT]);
        fs::remove_dir_all(shell.path("tiny")).unwrap();
        let rm = &["models", "rm", "tiny"];
        let fault = format!("unlink,unlinkat,rmdir:error=EIO:when={when}");
        let Some(ended) = with_fault(&fault, &shell.command(rm)) else { return };
        let ended = ended.expect(1).saying("removing");
        assert!(ended.stderr.contains(".tmp"), "{}", ended.stderr);
        shell.run(&["models", "verify"]).expect(0);
        shell.run(rm).expect(3);
        tiny::write(&shell.path("tiny"), &tiny::files());
        shell.run(IMPORT).expect(0);
        fs::remove_dir_all(shell.path("tiny")).unwrap();
        shell.run(rm).expect(0);
        let root = shell.path("home/.local/share/llmzip/models");
        let left: Vec<_> = fs::read_dir(root).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, [".digests"], "{fault}");
    }
    let shell = prepared(&[IMPORT]);
    fs::remove_dir_all(shell.path("tiny")).unwrap();
    let before = files_of(&shell);
    let fault = "rename,renameat,renameat2:error=EACCES";
    let Some(ended) = with_fault(fault, &shell.command(&["models", "rm", "tiny"])) else { return };
    ended.expect(1).saying("Permission denied");
    assert!(files_of(&shell) == before, "all of it or nothing");
}

#[test]
fn a_mode_that_cannot_be_set_costs_no_model() {
    let shell = prepared(&[]);
    let quantize = &["models", "quantize", "tiny", "--int8", "-o", "new"];
    let fault = "chmod,fchmod,fchmodat:error=EPERM";
    let Some(ended) = with_fault(fault, &shell.command(quantize)) else { return };
    ended.expect(0);
    assert_eq!(shell.read("new/tokenizer.json"), shell.read("tiny/tokenizer.json"));
    let Some(ended) = with_fault(fault, &shell.command(IMPORT)) else { return };
    ended.expect(0);
}

/// Whatever failed, the next call brings the model.
#[cfg(feature = "hub")]
#[test]
fn a_download_that_fails_is_taken_up_by_the_next() {
    let hub = crate::stub_hub::StubHub::new(&tiny::files());
    for (call, error) in [
        ("write", "ENOSPC"),
        ("openat", "EACCES"),
        ("rename,renameat,renameat2", "EIO"),
        ("fsync", "EIO"),
        ("mkdir,mkdirat", "ENOSPC"),
        ("symlink,symlinkat", "EPERM"),
        ("flock", "ENOLCK"),
    ] {
        for when in (1..=15).step_by(share::step(5)) {
            let shell = Shell::new();
            let run = |arguments: &[&str]| {
                let mut command = shell.command(arguments);
                command.env("HF_ENDPOINT", &hub.endpoint).env("HF_HUB_DOWNLOAD_TIMEOUT", "2");
                command
            };
            let fault = format!("{call}:error={error}:when={when}");
            let pull = ["models", "pull", "org/tiny"];
            let Some(ended) = with_fault(&fault, &run(&pull)) else { return };
            let case = format!("{fault}: {}", ended.stderr);
            assert!(ended.code.is_some() && !ended.stderr.contains("panicked"), "{case}");
            end(run(&pull)).expect(0);
            end(run(&["models", "verify", "org/tiny"])).expect(0);
            let found = files_of(&shell);
            let left = |name: &&String| name.contains(".llmzip-") || name.ends_with(".incomplete");
            assert_eq!(found.keys().find(left), None, "{case}");
        }
    }
}
