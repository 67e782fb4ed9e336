//! What packages install beside the program: completions, the manual page, `file`'s rule.

use crate::skip::skip;
use std::io::Write;
use std::process::{Command, Output, Stdio};

fn llmzip(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(env!("CARGO_BIN_EXE_llmzip")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    output.stdout
}

/// What `program` says of `input`; `None` where it is not installed.
fn check(program: &str, arguments: &[&str], input: &[u8]) -> Option<Output> {
    let command = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = command else {
        skip(format!("no {program}"));
        return None;
    };
    child.stdin.take().unwrap().write_all(input).unwrap();
    Some(child.wait_with_output().unwrap())
}

#[test]
fn completions_are_scripts_that_their_shells_read() {
    for (shell, no_run) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = llmzip(&["completions", shell]);
        let text = String::from_utf8(script.clone()).unwrap();
        for word in ["decompress", "models", "chunk-size", "memlimit"] {
            assert!(text.contains(word), "{shell} does not complete {word}");
        }
        if let Some(output) = check(shell, &[no_run], &script) {
            assert!(
                output.status.success(),
                "{shell}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

#[test]
fn bash_offers_archives_where_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.llmz", "b.tar", "c.tllmz"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let offered = |words: &str| {
        let script = String::from_utf8(llmzip(&["completions", "bash"])).unwrap();
        let words: Vec<&str> = words.split(' ').collect();
        let (list, last) = (words.join("' '"), words.len() - 1);
        let call = format!("COMP_WORDS=('{list}'); COMP_CWORD={last}; _llmzip_archives llmzip ''");
        let script =
            format!("{script}\ncd {}; {call}; echo \"${{COMPREPLY[@]}}\"", folder.path().display());
        let output = check("bash", &[], script.as_bytes())?;
        Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    let Some(archives) = offered("llmzip -d ") else { return };
    assert_eq!(archives, "a.llmz c.tllmz");
    assert_eq!(offered("llmzip test -q ").unwrap(), "a.llmz c.tllmz");
    assert!(offered("llmzip --ver").unwrap().contains("--verbose"));
}

#[test]
fn the_manual_page_has_every_option() {
    let page = String::from_utf8(llmzip(&["man"])).unwrap();
    let help = String::from_utf8(llmzip(&["--help"])).unwrap();
    // Other names of an option are not in it.
    let mut parts = help.split("[alias");
    let first = parts.next().unwrap_or("").to_owned();
    let rest = parts.map(|part| part.split_once(']').map_or("", |(_, after)| after));
    let help = first + &rest.collect::<String>();
    let options = help.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 4);
    let plain = page.replace("\\-", "-");
    for option in options {
        // A value that may be left out stands in brackets.
        let option = option.split_once("[=").map_or(option, |(name, _)| name);
        let option = option.trim_end_matches([',', ';', ']', '.', ':', ')']);
        assert!(plain.contains(option), "{option} is not in the manual");
    }
    if let Some(output) = check("mandoc", &["-Tlint", "-Werror"], page.as_bytes()) {
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "mandoc: {said}");
    }
}

#[test]
fn file_names_archives() {
    let rule = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/llmzip.magic");
    for (plain, form) in [("a", "single form"), ("", "single form")] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_llmzip"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(plain.as_bytes()).unwrap();
        let archive = child.wait_with_output().unwrap().stdout;
        if let Some(output) = check("file", &["-b", "-m", rule, "-"], &archive) {
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.starts_with("llmzip archive, format 1, numerics 1"), "{said}");
            assert!(said.contains(form), "{said}");
        }
    }
}
