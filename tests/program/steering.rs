//! Steering vectors as users meet them: drawn from a seed, read from a file, imported, missing.

use crate::family;
use crate::shell::{Ended, Shell, end};
use crate::tiny;
use llmzip::models::{Model, Steering, SteeringFile};
use llmzip::ops::Isa;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

/// Content that shrinks by the compiled-in model, and by that of `tiny`.
fn text() -> Vec<u8> {
    b"the same words and the same words again, ".repeat(20)
}

/// A file of `count` vectors of a seed for `model`.
fn file(model: &Model, count: usize, seed: u64) -> Vec<u8> {
    let network = model.network().as_transformer().unwrap();
    let steering = Steering::random(network, count, seed).unwrap();
    SteeringFile { steering, model: model.identity().hex() }.to_bytes()
}

fn default_model() -> Model {
    Model::default_model(Isa::detect()).unwrap()
}

fn hex(file: &[u8]) -> String {
    blake3::hash(file).to_hex().to_string()
}

fn json(ended: Ended) -> Value {
    serde_json::from_slice(&ended.stdout).unwrap()
}

/// A folder with the content `a`, the files `one.steer` and `two.steer` of vectors for the compiled-in
/// model, and the archive `a.llmz` made with the first.
fn with_files() -> Shell {
    let (shell, model) = (Shell::new(), default_model());
    shell.write("a", &text());
    shell.write("one.steer", &file(&model, 5, 1));
    shell.write("two.steer", &file(&model, 2, 2));
    shell.run(&["--no-mix", "--steer", "one.steer", "a"]).expect(0);
    shell
}

/// Where imported files are.
fn store(shell: &Shell) -> PathBuf {
    shell.path("home/.local/share/llmzip/models/steering")
}

#[test]
fn both_kinds_round_trip_the_same_everywhere() {
    let shell = with_files();
    let coding = ["-c", "--chunk-size=300", "--lanes=2"];
    let plain = shell.run(&[&coding[..], &["a"]].concat()).expect(0).stdout;
    for steering in
        [["--steer-random", "3:7"], ["--steer", "one.steer"], ["--steer", "./one.steer"]]
    {
        let options = [&coding[..], &steering].concat();
        let archive = shell.run(&[&options[..], &["a"]].concat()).expect(0).stdout;
        assert_ne!(archive, plain, "{steering:?}");
        let reader = if steering[0] == "--steer" { &steering[..] } else { &[] };
        for (isa, threads) in [("scalar", "-T1"), ("scalar", "-T2"), ("", "-T2")] {
            let run = |arguments: &[&str], input: Option<&str>| {
                let mut command = shell.command(&[arguments, &[threads]].concat());
                if !isa.is_empty() {
                    command.env("LLMZIP_ISA", isa);
                }
                if let Some(name) = input {
                    command.stdin(fs::File::open(shell.path(name)).unwrap());
                }
                end(command).expect(0).stdout
            };
            assert_eq!(run(&[&options[..], &["a"]].concat(), None), archive, "{isa} {threads}");
            assert_eq!(run(&options, Some("a")), archive, "{isa} {threads}");
            shell.write("b.llmz", &archive);
            let decompress = [&["-dc"], reader].concat();
            assert_eq!(run(&decompress, Some("b.llmz")), text(), "{isa} {threads}");
        }
        assert_eq!(shell.pipe(&options, &text()).expect(0).stdout, archive);
        let decompress = [&["-dc"], reader].concat();
        assert_eq!(shell.pipe(&decompress, &archive).expect(0).stdout, text());
        let range = [&["-dc", "--range=310..320"], reader, &["b.llmz"]].concat();
        assert_eq!(shell.run(&range).expect(0).stdout, &text()[310..320]);
        let test = [&["-t"], reader, &["b.llmz"]].concat();
        shell.run(&test).expect(0);
    }
}

#[test]
fn a_seed_is_part_of_the_archive() {
    let shell = with_files();
    let archive = |random: &str| {
        shell.run(&["-c", "--no-mix", "--steer-random", random, "a"]).expect(0).stdout
    };
    assert_eq!(archive("2"), archive("2:0"));
    let largest = archive("2:18446744073709551615");
    assert!(archive("2:0") != archive("2:1") && archive("2:1") != archive("3:1"));
    assert_eq!(shell.pipe(&["-dc"], &largest).expect(0).stdout, text());
    // Of a repeated option the last counts.
    let repeated = ["-c", "--no-mix", "--steer-random=9", "--steer-random=2:1", "a"];
    assert_eq!(shell.run(&repeated).expect(0).stdout, archive("2:1"));
    // What only compression has is ignored beside -d, as --lanes is.
    assert_eq!(shell.pipe(&["-dc", "--steer-random=1"], &largest).expect(0).stdout, text());
}

#[test]
fn vectors_are_listed() {
    let shell = with_files();
    shell.run(&["-o", "b.llmz", "--no-mix", "--steer-random=3:7", "a"]).expect(0);
    shell.run(&["-o", "c.llmz", "a"]).expect(0);
    let digest = hex(&shell.read("one.steer"));
    let verbose =
        |name: &str| String::from_utf8(shell.run(&["-lv", name]).expect(0).stdout).unwrap();
    let named = format!("    steer   one.steer ({})\n", &digest[..12]);
    assert!(verbose("a.llmz").contains(&named), "{}", verbose("a.llmz"));
    assert!(verbose("b.llmz").contains("    steer   3 vectors, random, seed 7\n"));
    assert!(!verbose("c.llmz").contains("steer"));
    let listed = json(shell.run(&["-l", "--json", "a.llmz", "b.llmz", "c.llmz"]).expect(0));
    let steering = |i: usize| listed["files"][i]["streams"][0]["steering"].clone();
    let named = serde_json::json!({"digest": {"blake3": digest, "label": "one.steer"}});
    assert_eq!(steering(0), named);
    assert_eq!(steering(1), serde_json::json!({"random": {"count": 3, "seed": 7}}));
    assert_eq!(steering(2), Value::Null);
}

#[test]
fn an_archive_opens_with_its_vectors_alone() {
    let shell = with_files();
    let (right, other) = (hex(&shell.read("one.steer")), hex(&shell.read("two.steer")));
    let archive = shell.read("a.llmz");
    for verb in ["-d", "-dc", "-t"] {
        let missing = shell.run(&[verb, "-f", "a.llmz"]).expect(3).saying(&right);
        assert!(missing.saying("--steer").stdout.is_empty());
        let wrong = shell.run(&[verb, "-f", "--steer", "two.steer", "a.llmz"]).expect(3);
        assert!(wrong.saying(&right).saying(&other).saying("'two.steer'").stdout.is_empty());
        let none = shell.run(&[verb, "-f", "--steer", "none", "a.llmz"]).expect(3).saying(&right);
        assert!(none.saying("'none'").stdout.is_empty());
        shell.run(&[verb, "-f", "--steer", "./none", "a.llmz"]).expect(2).saying("no such file");
        assert_eq!(shell.read("a"), text(), "the old output stays");
    }
    assert!(shell.pipe(&["-dc"], &archive).expect(3).stdout.is_empty());
    assert_eq!(shell.run(&["-dc", "--steer", "one.steer", "a.llmz"]).expect(0).stdout, text());
    shell.run(&["models", "import", "one.steer"]).expect(0);
    fs::remove_file(shell.path("one.steer")).unwrap();
    assert_eq!(shell.run(&["-dc", "a.llmz"]).expect(0).stdout, text());
    assert_eq!(shell.pipe(&["-dc"], &archive).expect(0).stdout, text());
    // Archives of other vectors than those of --steer find theirs in the store.
    for name in ["two.steer", "one", "none"] {
        let ended = shell.run(&["-dc", "--steer", name, "a.llmz"]).expect(0);
        assert_eq!(ended.stdout, text(), "{name}");
    }
    // Its name does not matter.
    let stored = store(&shell).join("one.steer");
    fs::rename(&stored, store(&shell).join("renamed.steer")).unwrap();
    assert_eq!(shell.run(&["-dc", "a.llmz"]).expect(0).stdout, text());
    // One of its name with other content is named.
    fs::rename(store(&shell).join("renamed.steer"), shell.path("one.steer")).unwrap();
    fs::copy(shell.path("two.steer"), &stored).unwrap();
    shell.run(&["-dc", "a.llmz"]).expect(3).saying(&right).saying(&other);
    shell.run(&["models", "rm", "one.steer"]).expect(0);
    let ended = shell.run(&["-dc", "a.llmz"]).expect(3).saying(&right);
    assert!(!ended.stderr.contains(&other));
}

#[test]
fn imported_vectors_are_named_to_compress_with() {
    let shell = with_files();
    shell.run(&["models", "import", "one.steer"]).expect(0);
    fs::rename(shell.path("one.steer"), shell.path("elsewhere")).unwrap();
    for name in ["one", "one.steer"] {
        let archive = shell.run(&["-c", "--no-mix", "--steer", name, "a"]).expect(0).stdout;
        assert_eq!(archive, shell.read("a.llmz"), "{name}");
    }
    // A file of that name comes first; a folder does not.
    fs::create_dir(shell.path("one")).unwrap();
    let archive = shell.run(&["-c", "--no-mix", "--steer", "one", "a"]).expect(0).stdout;
    assert_eq!(archive, shell.read("a.llmz"));
    fs::copy(shell.path("two.steer"), shell.path("one.steer")).unwrap();
    let archive = shell.run(&["-c", "--no-mix", "--steer", "one.steer", "a"]).expect(0).stdout;
    assert_ne!(archive, shell.read("a.llmz"));
    shell.run(&["-c", "--steer", "none", "a"]).expect(3).saying("'none'");
    shell.run(&["-c", "--steer", "no/ne", "a"]).expect(2).saying("no such file");
}

#[test]
fn files_of_vectors_are_kept_among_the_models() {
    let shell = with_files();
    let (bytes, model) = (shell.read("one.steer"), default_model().identity().hex());
    let done = json(shell.run(&["models", "import", "--json", "one.steer"]).expect(0));
    assert_eq!(done["steering"][0]["digest"], hex(&bytes));
    assert_eq!(fs::read(store(&shell).join("one.steer")).unwrap(), bytes);
    assert_eq!(fs::read_dir(store(&shell)).unwrap().count(), 1, "a draft was left");
    shell.run(&["models", "import", "one.steer"]).expect(0).saying("here already");

    let list = shell.run(&["models", "list"]).expect(0).stdout;
    let list = String::from_utf8(list).unwrap();
    let row = list.lines().last().unwrap();
    for part in [&hex(&bytes)[..12], &format!("5 for {}", &model[..12]), "one.steer", "steering"] {
        assert!(row.contains(part), "{part} is not in: {row}");
    }
    assert_eq!(shell.run(&["models", "list", "-q"]).expect(0).stdout, b"default\none.steer\n");
    for verb in ["list", "info", "verify", "path"] {
        let name = if verb == "list" { &[][..] } else { &["one.steer"] };
        let arguments = [&["models", verb, "--json"], name].concat();
        let entry = json(shell.run(&arguments).expect(0))["steering"][0].clone();
        assert_eq!(entry["name"], "one.steer", "{verb}");
        assert_eq!((&entry["vectors"], &entry["model"]), (&5.into(), &model.clone().into()));
        assert_eq!(entry["len"], bytes.len());
    }
    fs::rename(shell.path("one.steer"), shell.path("elsewhere")).unwrap();
    let info = shell.run(&["models", "info", "one.steer"]).expect(0).stdout;
    let info = String::from_utf8(info).unwrap();
    assert!(info.contains(&hex(&bytes)) && info.contains(&model) && info.contains("imported"));
    let path = shell.run(&["models", "path", "one.steer"]).expect(0).stdout;
    assert_eq!(
        String::from_utf8(path).unwrap().trim_end(),
        store(&shell).join("one.steer").to_str().unwrap()
    );

    shell.run(&["models", "export", "one.steer", "-o", "out"]).expect(0);
    assert_eq!(shell.read("out"), bytes);
    shell.run(&["models", "export", "one.steer", "-o", "out"]).expect(1).saying("-f");
    let streamed = shell.run(&["models", "export", "one.steer", "-o", "/dev/stdout"]).expect(0);
    assert_eq!(streamed.stdout, bytes);

    shell.run(&["models", "verify"]).expect(0).saying("one.steer: readable");
    shell.run(&["models", "rm", "-n", "one.steer"]).expect(0).saying("would be removed");
    shell.run(&["models", "rm", "./two.steer"]).expect(2).saying("not in the store");
    fs::copy(shell.path("elsewhere"), shell.path("one.steer")).unwrap();
    shell.run(&["models", "rm", "one.steer"]).expect(0).saying("removed"); // the imported one
    shell.run(&["models", "rm", "one.steer"]).expect(2).saying("not in the store");
    fs::remove_file(shell.path("one.steer")).unwrap();
    shell.run(&["models", "rm", "one.steer"]).expect(3);
    assert_eq!(fs::read_dir(store(&shell)).unwrap().count(), 0);
    assert!(shell.path("two.steer").exists());
}

#[test]
fn an_import_overwrites_no_other_vectors() {
    let shell = with_files();
    shell.run(&["models", "import", "one.steer"]).expect(0);
    let stored = store(&shell).join("one.steer");
    let before = fs::read(&stored).unwrap();
    fs::copy(shell.path("two.steer"), shell.path("one.steer")).unwrap();
    shell.run(&["models", "import", "one.steer"]).expect(2).saying("models rm one.steer");
    assert_eq!(fs::read(&stored).unwrap(), before);
    // A damaged one is found out, removed or replaced.
    fs::write(&stored, &before[..before.len() - 1]).unwrap();
    shell.run(&["models", "verify"]).expect(4).saying("models rm");
    shell.run(&["models", "verify", "one.steer"]).expect(0); // that of this folder
    shell.run(&["models", "list"]).expect(0);
    shell.run(&["models", "import", "one.steer"]).expect(0).saying("imported");
    assert_eq!(fs::read(&stored).unwrap(), shell.read("two.steer"));
    fs::write(&stored, b"junk").unwrap();
    fs::remove_file(shell.path("one.steer")).unwrap();
    shell.run(&["models", "rm", "one.steer"]).expect(0);
    assert!(!stored.exists());
}

#[test]
fn an_import_has_the_mode_of_any_new_file() {
    let shell = with_files();
    for (umask, mode) in [("022", 0o644), ("077", 0o600), ("002", 0o664)] {
        let script = format!("umask {umask}; exec \"$0\" models import one.steer");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_llmzip")]).current_dir(shell.path(""));
        command.env("HOME", shell.path("home")).env_remove("XDG_DATA_HOME");
        end(command.env_remove("LLMZIP_MODEL_DIR")).expect(0);
        let stored = store(&shell).join("one.steer");
        assert_eq!(stored.metadata().unwrap().permissions().mode() & 0o777, mode, "{umask}");
        fs::remove_file(stored).unwrap();
    }
}

#[test]
fn what_is_no_file_of_vectors_is_refused() {
    let shell = with_files();
    let good = shell.read("one.steer");
    let too_large = fs::File::create(shell.path("large.steer")).unwrap();
    too_large.set_len(1 << 40).unwrap(); // would not fit into memory
    shell.write("long.steer", &[&good[..], &vec![0; (8 << 20) + 1 - good.len()]].concat());
    shell.write("junk.steer", b"no vectors");
    shell.write("empty.steer", b"");
    shell.write("cut.steer", &good[..good.len() - 1]);
    let pipe = Command::new("mkfifo").arg(shell.path("pipe.steer")).status();
    assert!(pipe.unwrap().success());
    fs::create_dir(shell.path("folder.steer")).unwrap();
    for (name, words) in [
        ("large.steer", "more than 8388608 bytes"),
        ("long.steer", "more than 8388608 bytes"),
        ("junk.steer", "no safetensors file"),
        ("empty.steer", "no safetensors file"),
        ("cut.steer", "no safetensors file"),
        ("pipe.steer", "not a regular file"),
        ("folder.steer", "not a regular file"),
    ] {
        shell.run(&["-c", "--steer", name, "a"]).expect(1).saying(words).saying(name);
        let ended = shell.run(&["-dc", "--steer", name, "a.llmz"]);
        match words {
            "no safetensors file" => ended.expect(3).saying(name), // whatever it is, it is not the one
            _ => ended.expect(1).saying(words),
        };
        if name != "folder.steer" {
            for verb in ["import", "info", "verify"] {
                shell.run(&["models", verb, name]).expect(1).saying(words).saying(name);
            }
            shell.run(&["models", "export", name, "-o", "out"]).expect(1).saying(words);
        }
    }
    shell.run(&["models", "import", "folder.steer"]).expect(1).saying("config.json");
    shell.run(&["models", "import", "none.steer"]).expect(1).saying("none.steer");
    shell.write("\u{1b}.steer", &good);
    shell.run(&["models", "import", "\u{1b}.steer"]).expect(2).saying("rename it");
    shell.write(".steer", &good);
    shell.run(&["models", "import", ".hidden.steer"]).expect(1);
    assert!(!store(&shell).exists() && !shell.path("out").exists());
    // Nor does one in the store stop anything.
    fs::create_dir_all(store(&shell).join("folder.steer")).unwrap();
    let pipe = Command::new("mkfifo").arg(store(&shell).join("one.steer")).status();
    assert!(pipe.unwrap().success());
    fs::write(store(&shell).join("two.steer"), &good).unwrap();
    shell.run(&["models", "list"]).expect(0);
    assert_eq!(shell.run(&["-dc", "a.llmz"]).expect(0).stdout, text());
}

#[test]
fn models_that_cannot_take_the_vectors_refuse_them() {
    let shell = with_files();
    let gru = family::folder("gru");
    let model = gru.path().to_str().unwrap();
    let refused = shell.run(&["-c", "-m", model, "--steer-random=2", "a"]).expect(2);
    assert!(refused.saying("recurrent").stdout.is_empty());
    tiny::write(&shell.path("tiny"), &tiny::files());
    let refused = shell.run(&["-c", "-m", "tiny", "--steer", "one.steer", "a"]).expect(2);
    let refused = refused.saying(&tiny::digest(&tiny::files()));
    refused.saying(&default_model().identity().hex()).saying("one.steer");
}

/// An archive that names its model and its vectors by digest.
#[test]
fn a_model_from_a_folder_has_vectors_of_its_own() {
    let shell = with_files();
    let folder = tiny::write(&shell.path("tiny"), &tiny::files());
    let model = Model::open_on(&folder, Isa::detect()).unwrap();
    shell.write("tiny.steer", &file(&model, 3, 4));
    let with = ["-m", "tiny", "--steer", "tiny.steer"];
    let archive = shell.run(&[&["-c", "--no-mix"], &with[..], &["a"]].concat()).expect(0).stdout;
    assert_eq!(shell.pipe(&[&["-dc"], &with[..]].concat(), &archive).expect(0).stdout, text());
    shell.pipe(&["-dc", "-m", "tiny"], &archive).expect(3).saying("'tiny.steer'");
    shell.pipe(&["-dc", "--steer", "tiny.steer"], &archive).expect(3).saying("model 'tiny'");
    // Both are imported, into one folder, and neither is taken for the other.
    shell.run(&["models", "import", "tiny"]).expect(0);
    shell.run(&["models", "import", "tiny.steer"]).expect(0);
    assert_eq!(shell.pipe(&["-dc"], &archive).expect(0).stdout, text());
    let list = json(shell.run(&["models", "list", "--json"]).expect(0));
    assert_eq!(list["models"].as_array().unwrap().len(), 2);
    assert_eq!(list["steering"].as_array().unwrap().len(), 1);
    shell.run(&["models", "verify"]).expect(0);
}

#[test]
fn calls_that_make_no_sense_are_told_so() {
    let shell = with_files();
    for bad in ["0", "65", "x", "1:", "1:x", "1:-1", "256"] {
        shell.run(&["-c", "--steer-random", bad, "a"]).expect(2);
    }
    let both = ["-c", "--steer-random=1", "--steer", "one.steer", "a"];
    shell.run(&both).expect(2).saying("cannot be used with");
    let plain = shell.run(&["-2", "-c", "a"]).expect(0);
    assert!(!plain.stderr.contains("warning"));
    for steering in [["--steer-random", "2"], ["--steer", "one.steer"]] {
        let ended = shell.run(&[&["-2", "-c"], &steering[..], &["a"]].concat()).expect(0);
        let ended = ended.saying(&format!("runs no language model, {} is ignored", steering[0]));
        assert_eq!(ended.stdout, plain.stdout);
    }
}

#[test]
fn benchmarks_take_vectors() {
    let shell = with_files();
    for (steering, named) in [
        (["--steer-random", "2"], "--steer-random 2:0"),
        (["--steer", "one.steer"], "--steer one.steer"),
    ] {
        let arguments = [&["bench", "--no-mix", "--no-profile", "--json"], &steering[..], &["a"]];
        let done = json(shell.run(&arguments.concat()).expect(0));
        let result = &done["files"][0]["results"][0];
        assert_eq!(result["verified"], true);
        assert!(result["command"].as_str().unwrap().contains(named), "{result}");
        let archive = shell.run(&[&["-c", "--no-mix"], &steering[..], &["a"]].concat()).expect(0);
        assert_eq!(result["archive_len"], archive.stdout.len());
    }
}
