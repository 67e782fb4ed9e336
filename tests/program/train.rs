//! `llmzip train`: models that compress, the same ones again, runs that go on, and what is refused.

use crate::shell;
use crate::shell::Shell;
use llmzip::ops::Isa;
use llmzip::train::{Arch, Budget, Device, Size, TrainOptions, TrainReport, train};
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

fn call(shell: &Shell, folder: &str, more: &[&str]) -> shell::Ended {
    let train = ["train", "--data", "log", "-o", folder, "--size", "tiny"];
    shell.run(&[&train, more].concat())
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
    let rest = &text[80_000..90_000];
    shell.write("rest", rest);
    for (arch, more) in [("gru", &[][..]), ("lstm", &[]), ("llama", &["--vocab", "300"])] {
        let options = [&["--arch", arch, "--steps", "60"], more].concat();
        let said = String::from_utf8(call(&shell, arch, &options).expect(0).stdout).unwrap();
        assert!(said.contains("60 steps"), "{said}");
        let is_said_worth = said.contains("use it with") != said.contains("it is not worth it");
        assert!(is_said_worth && said.contains("held-out data:"), "{said}");
        shell.run(&["-m", arch, "--no-mix", "rest"]).expect(0);
        let len = shell.read("rest.llmz").len();
        println!("{arch}: {len} of {} bytes", rest.len());
        assert!(len * 4 < rest.len(), "{arch}: {len}");
        fs::remove_file(shell.path("rest")).unwrap();
        shell.run(&["-d", "-m", arch, "rest.llmz"]).expect(0);
        assert_eq!(shell.read("rest"), rest, "{arch}");
        fs::remove_file(shell.path("rest.llmz")).unwrap();
        for name in ["README.md", "curve.svg", "curve.csv"] {
            assert!(!fs::read(shell.path(arch).join(name)).unwrap().is_empty());
        }
    }
}

#[test]
fn steps_and_seed_make_the_model() {
    let shell = Shell::new();
    shell.write("log", &log(400));
    for (folder, more) in [("a", ["-T1", "--seed", "5"]), ("b", ["-T3", "--seed", "5"])] {
        call(&shell, folder, &[&more[..], &["--steps", "3"]].concat()).expect(0);
    }
    call(&shell, "c", &["--seed", "6", "--steps", "3", "--device", "cpu"]).expect(0);
    assert!(model(&shell, "a") == model(&shell, "b"));
    assert!(model(&shell, "a")[1] != model(&shell, "c")[1]);
}

#[test]
fn a_model_that_loses_is_called_so() {
    let shell = Shell::new();
    shell.write("app.log", &log(400));
    let said = shell.run(&["train", "app.log", "--size", "tiny", "--steps", "1"]).expect(0).stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("it is not worth it"), "{said}");
    assert!(shell.path("app-model/config.json").is_file());
}

#[test]
fn a_run_goes_on() {
    let shell = Shell::new();
    shell.write("log", &log(400));
    call(&shell, "a", &["--steps", "3"]).expect(0);
    let before = model(&shell, "a");
    let said = call(&shell, "a", &["--steps", "5", "--resume"]).expect(0).stdout;
    assert!(String::from_utf8_lossy(&said).contains("5 steps"));
    let after = model(&shell, "a");
    assert!(before[0] == after[0] && before[1] != after[1] && before[2] == after[2]);
    let refused = call(&shell, "a", &["--steps", "9", "--resume", "--arch", "lstm"]);
    refused.expect(2).saying("--arch gru");
    shell.write("other", &log(401));
    let refused = call(&shell, "a", &["--steps", "9", "--resume", "--data", "other"]);
    refused.expect(2).saying("data of digest");
    assert!(model(&shell, "a") == after);
    call(&shell, "a", &["--steps", "9"]).expect(2).saying("not empty");
    call(&shell, "new", &["--steps", "9", "--resume"]).expect(1).saying("new");
}

/// Of files too short to hold out a share of each, some are held out whole.
#[test]
fn many_short_files_are_data() {
    let shell = Shell::new();
    let text = log(1000);
    let names: Vec<String> = (0..300).map(|i| format!("{i}")).collect();
    names.iter().zip(text.chunks(45)).for_each(|(name, text)| shell.write(name, text));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let train = ["train", "-o", "a", "--size", "tiny", "--steps", "1", "--data"];
    let said = shell.run(&[&train, &names[..]].concat()).expect(0).stdout;
    assert!(!String::from_utf8_lossy(&said).contains("NaN"));
    let more = ["train", "-o", "a", "--size", "tiny", "--steps", "2", "--resume", "--data"];
    shell.run(&[&more, &names[..]].concat()).expect(0);
}

/// What a kill leaves is the last checkpoint; from there, the same model is made as without the kill.
#[test]
fn a_run_that_was_broken_off_ends_the_same() {
    let shell = Shell::new();
    shell.write("log", &log(400));
    for (arch, vocab_size, steps, broken_off) in
        [(Arch::Gru, 256, 35, 34), (Arch::Llama, 300, 3, 2)]
    {
        let run = |folder: &str, resume, watch: &mut dyn FnMut(&TrainReport)| {
            let options = TrainOptions {
                arch,
                size: Size::Tiny,
                vocab_size,
                budget: Budget::Steps(steps),
                seed: 1,
                crlf: true,
                resume,
                checkpoint_s: 0.0,
                measures: 20,
                device: Device::Cpu,
                isa: Isa::detect(),
            };
            train(&options, None, &[shell.path("log")], &shell.path(folder), watch).unwrap();
        };
        let (whole, half) = (format!("{}-whole", arch.name()), format!("{}-half", arch.name()));
        run(&whole, false, &mut |report| {
            if report.steps == broken_off {
                fs::create_dir(shell.path(&half)).unwrap();
                for name in ["checkpoint.safetensors", "tokenizer.json"] {
                    fs::copy(shell.path(&whole).join(name), shell.path(&half).join(name)).unwrap();
                }
            }
        });
        let mut first = None;
        run(&half, true, &mut |report| {
            first.get_or_insert(report.steps);
        });
        assert!(first.unwrap() <= broken_off, "{arch:?}: began after step {first:?}");
        assert!(first.unwrap() > 1, "{arch:?}: began anew");
        assert!(model(&shell, &whole) == model(&shell, &half), "{arch:?}");
    }
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let shell = Shell::new();
    shell.write("log", b"too short");
    call(&shell, "a", &[]).expect(2).saying("at least 10000");
    shell.write("log", &log(400));
    call(&shell, "a", &["--vocab", "257"]).expect(2).saying("256 or 300 to 65536");
    call(&shell, "a", &["--vocab", "60000"]).expect(2).saying("use fewer");
    call(&shell, "a", &["--minutes", "0"]).expect(2).saying("--minutes is 0");
    call(&shell, "a", &["--steps", "0"]).expect(2);
    call(&shell, "a", &["--device", "gpu"]).expect(2).saying("cuda:N");
    call(&shell, "a", &["--device", "cuda:99"]).expect(2).saying("CUDA");
    call(&shell, "a", &["--data", "missing"]).expect(1).saying("missing");
    shell.run(&["train", "-o", "a"]).expect(2).saying("<FILE>");
    assert!(!shell.path("a").join("model.safetensors").exists());
}

#[test]
fn what_cannot_be_said_is_no_panic() {
    let shell = Shell::new();
    shell.write("log", &log(400));
    let command = |folder| {
        let train = ["train", "--data", "log", "--size", "tiny", "--steps", "3"];
        shell.command(&[&train[..], &["--progress", "plain", "-o", folder]].concat())
    };
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command("a").stdout(writer).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), None, "{said}");
    assert!(!said.contains("panicked") && !said.contains("llmzip:"), "{said}");
    let mut unheard = command("b");
    unheard.stdout(full());
    shell::end(unheard).expect(1);
    let mut unheard = command("c");
    unheard.stderr(full());
    shell::end(unheard).expect(0);
    assert!(model(&shell, "a") == model(&shell, "c"));
}

/// A step is enough for the tokenizer of bytes, which docs/training.md offers, on data of any length.
#[test]
fn a_single_step_needs_little_data() {
    let shell = Shell::new();
    shell.write("log", &log(2));
    call(&shell, "a", &["--steps", "1"]).expect(0);
    assert!(shell.path("a/tokenizer.json").exists());
    call(&shell, "b", &["--minutes", "1"]).expect(2).saying("expected at least 10000");
    shell.write("log", b"short");
    call(&shell, "c", &["--steps", "1"]).expect(2).saying("no file of 50 bytes");
}

#[test]
fn a_full_disk_leaves_no_draft() {
    let shell = Shell::new();
    shell.write("log", &log(300));
    let mut command = std::process::Command::new("sh");
    let line = "ulimit -f 100; exec \"$0\" train --size tiny --steps 1 --data log -o model";
    command.args(["-c", line, env!("CARGO_BIN_EXE_llmzip")]).current_dir(shell.path(""));
    command.env("HOME", shell.path("home"));
    shell::end(command).expect(1).saying("checkpoint.safetensors");
    let names = fs::read_dir(shell.path("model")).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    assert_eq!(names, ["tokenizer.json"]);
}
