//! `llmzip steer train` and `--steer-fit`.

use crate::shell::Shell;
use llmzip::models::SteeringFile;
use std::fs;

fn text() -> Vec<u8> {
    (0..120).flat_map(|i| format!("<14>host app[{}]: started\n", i * 7 % 90).into_bytes()).collect()
}

/// Options of a run that takes a moment.
const SHORT: [&str; 8] =
    ["steer", "train", "log", "-k=2", "--steps=3", "--piece=200", "-o", "a.steer"];

#[test]
fn vectors_are_learned_and_used() {
    let shell = Shell::new();
    shell.write("log", &text());
    let ended = shell.run(&SHORT).expect(0);
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(said.contains("2 vectors") && said.contains("held-out archives"), "{said}");
    let file = fs::read(shell.path("a.steer")).unwrap();
    assert_eq!(SteeringFile::parse(&file).unwrap().steering.count(), 2);

    shell.run(&SHORT).expect(2).saying("exists already; -f");
    shell.run(&[&SHORT[..], &["-f", "-T1"]].concat()).expect(0);
    assert!(fs::read(shell.path("a.steer")).unwrap() == file, "threads change the vectors");
    shell.run(&[&SHORT[..], &["-f", "--seed=2"]].concat()).expect(0);
    assert!(fs::read(shell.path("a.steer")).unwrap() != file);

    shell.run(&["--steer", "a.steer", "--no-mix", "log"]).expect(0);
    let back = shell.run(&["-dc", "--steer", "a.steer", "log.llmz"]).expect(0);
    assert!(back.stdout == text());
}

#[test]
fn learning_refuses_what_cannot_be() {
    let shell = Shell::new();
    shell.write("log", &text());
    let train = |more: &[&str]| shell.run(&[&["steer", "train"], more].concat());
    train(&["log", "-o", "vectors"]).expect(2).saying("expected a name in .steer");
    train(&["log", "--piece=0"]).expect(2).saying("--piece is 0");
    train(&["log", "--piece=1M"]).expect(2).saying("expected 1 to 32768");
    train(&["log", "-k=65"]).expect(2);
    train(&["log", "--piece=2000"]).expect(2).saying("too little text");
    train(&["no"]).expect(1).saying("cannot read no");
    train(&[]).expect(2);
    for name in ["vectors", "log.steer", "no.steer"] {
        assert!(!shell.path(name).exists(), "{name}");
    }
}

/// Fitted vectors stand in an archive only where that makes it smaller.
#[test]
fn a_fitted_archive_is_never_larger() {
    let shell = Shell::new();
    let text = &text()[..400];
    shell.write("log", text);
    for (coding, prior) in [(&["-c", "--no-mix"][..], "gauss"), (&["-c"], "lloyd-max")] {
        let archive =
            |more: &[&str]| shell.run(&[coding, more, &["log"]].concat()).expect(0).stdout;
        let plain = archive(&[]);
        let fitted = archive(&["--steer-fit=1", "--steer-prior", prior]);
        assert!(fitted.len() <= plain.len(), "{prior}: {} > {}", fitted.len(), plain.len());
        shell.write("fitted.llmz", &fitted);
        assert!(shell.run(&["-dc", "fitted.llmz"]).expect(0).stdout == text);
    }
}

#[test]
fn fitting_goes_with_compression_by_a_model_alone() {
    let shell = Shell::new();
    shell.write("log", &text());
    shell.run(&["bench", "--steer-fit", "log"]).expect(2).saying("for compression alone");
    shell.run(&["-c", "--steer-fit", "--steer-random=2", "log"]).expect(2);
    shell.run(&["-c", "--steer-prior=gauss", "log"]).expect(2);
    shell.run(&["-c", "--steer-fit=65", "log"]).expect(2);
    let plain = shell.run(&["-1", "-c", "log"]).expect(0).stdout;
    let ended = shell.run(&["-1", "-c", "--steer-fit", "log"]).expect(0);
    assert!(ended.saying("--steer-fit is ignored").stdout == plain);
}
