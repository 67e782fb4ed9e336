//! Low-rank adapters as users meet them: trained, compressed with, imported, missing.

use crate::family;
use crate::shell::{Ended, Shell, end};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

fn text() -> Vec<u8> {
    (0..60).flat_map(|i| format!("<14>host app[{}]: started\n", i * 7 % 90).into_bytes()).collect()
}

/// Options of a run that takes a moment.
const SHORT: [&str; 7] =
    ["train", "--lora", "log", "--rank=2", "--steps=3", "--piece=200", "--rate=0.01"];

const FILES: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];

fn files(shell: &Shell, folder: &str) -> [Vec<u8>; 2] {
    FILES.map(|name| fs::read(shell.path(folder).join(name)).unwrap())
}

fn json(ended: Ended) -> Value {
    serde_json::from_slice(&ended.stdout).unwrap()
}

/// A folder with the file `log` and the adapter `tuned`, and what was said of it.
fn with_adapter() -> (Shell, String) {
    let shell = Shell::new();
    shell.write("log", &text());
    let ended = shell.run(&[&SHORT[..], &["-o", "tuned"]].concat()).expect(0);
    (shell, String::from_utf8(ended.stdout).unwrap())
}

/// Where imported adapters are.
fn store(shell: &Shell) -> PathBuf {
    shell.path("home/.local/share/llmzip/models/adapters")
}

/// Threads and instruction sets change nothing, seeds do.
#[test]
fn an_adapter_is_learned_the_same_everywhere_and_used() {
    let (shell, said) = with_adapter();
    assert!(said.contains("parameters; on held-out text"), "{said}");
    assert!(said.contains("held-out archives"), "{said}");
    let learned = files(&shell, "tuned");
    let again = |folder: &str, isa: Option<&str>, more: &[&str]| {
        let mut command = shell.command(&[&SHORT[..], &["-o", folder], more].concat());
        if let Some(isa) = isa {
            command.env("LLMZIP_ISA", isa);
        }
        end(command).expect(0);
        files(&shell, folder)
    };
    assert!(again("threads", None, &["-T1"]) == learned, "threads change the adapter");
    // The portable path is slow: it has a small model.
    let small = family::folder("llama-gqa-tied");
    let small = ["-m", small.path().to_str().unwrap()];
    let of_small = again("small", None, &small);
    assert!(again("scalar", Some("scalar"), &small) == of_small, "instruction sets change it");
    let other = again("seeded", None, &["--seed=2"]);
    assert!(other[1] != learned[1], "a seed changes nothing");
    shell.run(&[&SHORT[..], &["-o", "tuned"]].concat()).expect(2).saying("is not empty");

    let config: Value = serde_json::from_slice(&learned[0]).unwrap();
    assert_eq!((&config["r"], &config["peft_type"]), (&2.into(), &"LORA".into()));

    let plain = shell.run(&["-c", "--no-mix", "log"]).expect(0).stdout;
    let adapted = ["-c", "--no-mix", "--adapter", "tuned"];
    let archive = shell.run(&[&adapted[..], &["log"]].concat()).expect(0).stdout;
    assert!(archive != plain);
    assert_eq!(shell.pipe(&adapted, &text()).expect(0).stdout, archive);
    shell.write("few", &text()[..200]);
    let of_few = [&adapted[..], &["-T1", "few"]].concat();
    let mut scalar = shell.command(&of_few);
    scalar.env("LLMZIP_ISA", "scalar");
    assert_eq!(end(scalar).expect(0).stdout, shell.run(&of_few).expect(0).stdout);
    for folder in ["tuned", "./tuned"] {
        let read = ["-dc", "--adapter", folder];
        assert_eq!(shell.pipe(&read, &archive).expect(0).stdout, text());
    }
    // An archive without one needs none, whatever is named.
    assert_eq!(shell.pipe(&["-dc", "--adapter", "tuned"], &plain).expect(0).stdout, text());
    let chunks = ["-c", "--adapter", "tuned", "--chunk-size=700", "log"];
    shell.write("b.llmz", &shell.run(&chunks).expect(0).stdout);
    let range = ["-dc", "--adapter", "tuned", "--range=710..720", "b.llmz"];
    assert_eq!(shell.run(&range).expect(0).stdout, &text()[710..720]);
    let bench = ["bench", "--no-mix", "--no-profile", "--json", "--adapter", "tuned", "log"];
    let result = json(shell.run(&bench).expect(0))["files"][0]["results"][0].clone();
    assert_eq!(
        (&result["verified"], &result["archive_len"]),
        (&true.into(), &archive.len().into())
    );
    assert!(result["command"].as_str().unwrap().contains("--adapter tuned"), "{result}");
}

#[test]
fn a_model_is_evaluated_with_an_adapter_beside_it() {
    let (shell, _) = with_adapter();
    let verb = ["models", "evaluate", "default", "--text", "log", "--adapter", "tuned", "--json"];
    let found = shell.run(&verb).expect(0).stdout;
    let found: Value = serde_json::from_slice(&found).unwrap();
    let [bare, adapted] = &found["evaluations"].as_array().unwrap()[..] else { panic!("{found}") };
    assert_eq!((&bare["model"], &adapted["model"]), (&"default".into(), &"default + tuned".into()));
    let of = |evaluation: &Value, name: &str| evaluation[name].as_f64().unwrap();
    assert!(of(adapted, "bits") < of(bare, "bits"), "it was trained on this text");
    assert!(of(adapted, "drop") < 0.0 && of(adapted, "ratio") < 1.0, "{adapted}");
    let memory = of(bare, "weights_memory") + of(adapted, "adapter_memory");
    assert!((of(adapted, "ratio") - of(bare, "weights_memory") / memory).abs() < 1e-12);
    shell.run(&[&verb[..6], &["no-adapter"]].concat()).expect(3).saying("no adapter");
}

#[test]
fn an_archive_opens_with_its_adapter_alone() {
    let (shell, _) = with_adapter();
    shell.run(&["--adapter", "tuned", "-o", "log.llmz", "log"]).expect(0);
    let list = String::from_utf8(shell.run(&["-lv", "log.llmz"]).expect(0).stdout).unwrap();
    assert!(list.contains("adapter tuned ("), "{list}");
    let listed = json(shell.run(&["-l", "--json", "log.llmz"]).expect(0));
    assert_eq!(listed["files"][0]["streams"][0]["adapter"]["label"], "tuned");
    let missing = shell.run(&["-dc", "log.llmz"]).expect(3);
    missing.saying("the archive needs adapter 'tuned'").saying("--adapter").saying("models import");
    shell.run(&[&SHORT[..], &["-o", "other", "--seed=9"]].concat()).expect(0);
    let wrong = shell.run(&["-dc", "--adapter", "other", "log.llmz"]).expect(3);
    wrong.saying("but the adapter named is 'other'");
    shell.run(&["models", "import", "tuned"]).expect(0).saying("tuned: imported");
    fs::rename(shell.path("tuned"), shell.path("elsewhere")).unwrap();
    assert_eq!(shell.run(&["-dc", "log.llmz"]).expect(0).stdout, text());
    assert_eq!(shell.run(&["-dc", "--adapter", "other", "log.llmz"]).expect(0).stdout, text());
    // By the name of the imported one, too.
    let archive = shell.run(&["-c", "--adapter", "tuned", "log"]).expect(0).stdout;
    assert_eq!(archive, shell.read("log.llmz"));
}

#[test]
fn adapters_are_kept_among_the_models() {
    let (shell, _) = with_adapter();
    let bytes = files(&shell, "tuned");
    let len = bytes[0].len() + bytes[1].len();
    let done = json(shell.run(&["models", "import", "--json", "tuned"]).expect(0));
    let digest = done["adapters"][0]["digest"].as_str().unwrap().to_owned();
    assert_eq!(digest.len(), 64);
    shell.run(&["models", "import", "tuned"]).expect(0).saying("here already");
    assert_eq!(shell.run(&["models", "list", "-q"]).expect(0).stdout, b"default\ntuned\n");
    let list = String::from_utf8(shell.run(&["models", "list"]).expect(0).stdout).unwrap();
    let row = list.lines().last().unwrap();
    for part in [&digest[..12], "rank 2", "adapter", "tuned"] {
        assert!(row.contains(part), "{part} is not in: {row}");
    }
    fs::rename(shell.path("tuned"), shell.path("elsewhere")).unwrap();
    for verb in ["list", "info", "verify", "path"] {
        let name = if verb == "list" { &[][..] } else { &["tuned"] };
        let entry = json(shell.run(&[&["models", verb, "--json"], name].concat()).expect(0));
        let entry = entry["adapters"][0].clone();
        assert_eq!((&entry["name"], &entry["rank"]), (&"tuned".into(), &2.into()), "{verb}");
        assert_eq!(entry["len"], len, "{verb}");
    }
    shell.run(&["models", "verify"]).expect(0).saying("tuned: readable");
    shell.run(&["models", "export", "tuned", "-o", "out"]).expect(0).saying("exported");
    assert!(files(&shell, "out") == bytes);
    shell.run(&["models", "export", "tuned", "-o", "out"]).expect(2).saying("-f");
    shell.run(&[&SHORT[..], &["-o", "tuned", "--seed=9"]].concat()).expect(0);
    shell.run(&["models", "import", "tuned"]).expect(2).saying("another adapter or model");
    shell.run(&["models", "rm", "./out"]).expect(2).saying("not in the store");
    fs::remove_dir_all(shell.path("tuned")).unwrap();
    shell.run(&["models", "rm", "-n", "tuned"]).expect(0).saying("would be removed");
    shell.run(&["models", "rm", "tuned"]).expect(0).saying("removed");
    assert_eq!(fs::read_dir(store(&shell)).unwrap().count(), 0);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (shell, _) = with_adapter();
    let train = |more: &[&str]| shell.run(&[&["train", "--lora"], more].concat());
    train(&["log", "--piece=0"]).expect(2).saying("--piece is 0");
    train(&["log", "--rank=0"]).expect(2);
    train(&["log", "--rank=2000"]).expect(2);
    train(&["log", "--epochs=1", "--steps=1"]).expect(2);
    train(&["log", "--size=tiny"]).expect(2);
    train(&["log", "--minutes=0"]).expect(2);
    train(&["log", "--piece=2000"]).expect(2).saying("too little text");
    train(&["no"]).expect(1).saying("cannot read no");
    shell.run(&["train", "log", "--rank=2", "--steps=1", "-o", "x"]).expect(2);
    assert!(!shell.path("log-adapter").exists() && !shell.path("x").exists());

    shell.run(&["-c", "--adapter", "no", "log"]).expect(3).saying("there is no adapter 'no'");
    shell.run(&["-c", "--adapter", "./no", "log"]).expect(2).saying("no such folder");
    fs::create_dir(shell.path("empty")).unwrap();
    shell.run(&["-c", "--adapter", "empty", "log"]).expect(1).saying("adapter_config.json");
    let ended = shell.run(&["-1", "-c", "--adapter", "tuned", "log"]).expect(0);
    ended.saying("--adapter is ignored");
    let learning = ["-c", "--adapter", "tuned", "--learn=all", "log"];
    shell.run(&learning).expect(2).saying("without an adapter");
    let weights = shell.path("tuned/adapter_model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    shell.run(&["-c", "--adapter", "tuned", "log"]).expect(1).saying("adapter tuned");
    shell.run(&["models", "import", "tuned"]).expect(1);
}
