//! `llmzip train`: models that compress, the same ones again, runs that go on, and what is refused.

#![cfg(feature = "train")]

mod shell;

use shell::Shell;
use std::fs;

/// Lines like those of a log, which nobody else has seen.
fn log(lines: u32) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = |n: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % n
    };
    let line = |i: u32| {
        let (level, shard) = (["INFO", "WARN", "DEBUG"][next(3) as usize], next(8));
        format!("{i:06} {level} zorblax[{shard}]: frobnicated {} quuxes\n", next(100))
    };
    (0..lines).map(line).collect::<String>().into_bytes()
}

fn train(shell: &Shell, folder: &str, more: &[&str]) -> shell::Ended {
    let call = ["train", "--data", "log", "-o", folder, "--size", "tiny"];
    shell.run(&[&call, more].concat())
}

/// Bytes of the model's files.
fn model(shell: &Shell, folder: &str) -> Vec<Vec<u8>> {
    let files = ["config.json", "model.safetensors", "tokenizer.json"];
    files.map(|name| fs::read(shell.path(folder).join(name)).unwrap()).into()
}

#[test]
fn a_trained_model_compresses_what_it_knows() {
    let shell = Shell::new();
    let text = log(2000);
    shell.write("log", &text[..80_000]);
    shell.write("rest", &text[80_000..]);
    for (arch, more) in [("gru", &[][..]), ("lstm", &[]), ("llama", &["--vocab", "300"])] {
        let options = [&["--arch", arch, "--steps", "60"], more].concat();
        let said = String::from_utf8(train(&shell, arch, &options).expect(0).stdout).unwrap();
        assert!(said.contains("60 steps"), "{said}");
        shell.run(&["-m", arch, "--no-mix", "rest"]).expect(0);
        let len = shell.read("rest.llmz").len();
        println!("{arch}: {len} of {} bytes", text.len() - 80_000);
        assert!(len * 4 < text.len() - 80_000, "{arch}: {len}");
        fs::remove_file(shell.path("rest")).unwrap();
        shell.run(&["-d", "-m", arch, "rest.llmz"]).expect(0);
        assert_eq!(shell.read("rest"), &text[80_000..], "{arch}");
        fs::remove_file(shell.path("rest.llmz")).unwrap();
        for name in ["README.md", "curve.svg"] {
            assert!(!fs::read(shell.path(arch).join(name)).unwrap().is_empty());
        }
    }
}

#[test]
fn steps_and_seed_make_the_model() {
    let shell = Shell::new();
    shell.write("log", &log(400));
    for (folder, more) in [("a", ["-T1", "--seed", "5"]), ("b", ["-T3", "--seed", "5"])] {
        train(&shell, folder, &[&more[..], &["--steps", "3"]].concat()).expect(0);
    }
    train(&shell, "c", &["--seed", "6", "--steps", "3"]).expect(0);
    assert!(model(&shell, "a") == model(&shell, "b"));
    assert!(model(&shell, "a")[1] != model(&shell, "c")[1]);
}

#[test]
fn a_run_goes_on() {
    let shell = Shell::new();
    shell.write("log", &log(400));
    train(&shell, "a", &["--steps", "3"]).expect(0);
    let before = model(&shell, "a");
    let said = train(&shell, "a", &["--steps", "5", "--resume"]).expect(0).stdout;
    assert!(String::from_utf8_lossy(&said).contains("5 steps"));
    let after = model(&shell, "a");
    assert!(before[0] == after[0] && before[1] != after[1] && before[2] == after[2]);
    let refused = train(&shell, "a", &["--steps", "9", "--resume", "--arch", "lstm"]);
    refused.expect(2).saying("--arch gru");
    assert!(model(&shell, "a") == after);
    train(&shell, "a", &["--steps", "9"]).expect(2).saying("not empty");
    train(&shell, "new", &["--steps", "9", "--resume"]).expect(1).saying("new");
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let shell = Shell::new();
    shell.write("log", b"too short");
    train(&shell, "a", &[]).expect(2).saying("at least 10000");
    shell.write("log", &log(400));
    train(&shell, "a", &["--vocab", "257"]).expect(2).saying("256 or 300 to 65536");
    train(&shell, "a", &["--vocab", "60000"]).expect(2).saying("use fewer");
    train(&shell, "a", &["--minutes", "0"]).expect(2).saying("--minutes is 0");
    train(&shell, "a", &["--steps", "0"]).expect(2);
    train(&shell, "a", &["--data", "missing"]).expect(1).saying("missing");
    shell.run(&["train", "-o", "a"]).expect(2).saying("--data");
    assert!(!shell.path("a").join("model.safetensors").exists());
}
