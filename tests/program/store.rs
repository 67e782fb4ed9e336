//! Models on this machine: which one an archive gets, which are refused, and how they are carried.

use crate::random::Random;
use crate::shell::{Ended, Shell, end};
use crate::tiny;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// Content that shrinks.
fn text() -> Vec<u8> {
    b"the same words and the same words again, ".repeat(20)
}

fn json(ended: Ended) -> Value {
    serde_json::from_slice(&ended.stdout).unwrap()
}

/// A folder with the file `a`, a model in `tiny`, one that differs in a bit in `changed`, and the
/// archive `a.llmz` made with the first.
fn with_archive() -> Shell {
    let shell = Shell::new();
    shell.write("a", &text());
    tiny::write(&shell.path("tiny"), &tiny::files());
    tiny::write(&shell.path("changed"), &tiny::files_with_one_bit_changed());
    shell.run(&["--no-mix", "-m", "tiny", "a"]).expect(0);
    shell
}

fn digests() -> (String, String) {
    (tiny::digest(&tiny::files()), tiny::digest(&tiny::files_with_one_bit_changed()))
}

/// The only imported model's folder.
fn imported(shell: &Shell) -> PathBuf {
    let root = shell.path("home/.local/share/llmzip/models");
    let folders = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = folders.filter(|path| !path.ends_with(".digests")).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    folders.remove(0)
}

#[test]
fn an_archive_opens_with_its_model_alone() {
    let shell = with_archive();
    let (right, changed) = digests();
    assert_eq!(shell.run(&["-dc", "-m", "tiny", "a.llmz"]).expect(0).stdout, text());
    shell.run(&["-t", "-m", "./tiny", "a.llmz"]).expect(0);
    let default = json(shell.run(&["models", "info", "--json"]).expect(0));
    let default = default["models"][0]["digest"].as_str().unwrap().to_owned();
    let archive = shell.read("a.llmz");
    for (model, found) in
        [(None, None), (Some("default"), Some(default)), (Some("changed"), Some(changed))]
    {
        for verb in ["-d", "-dc", "-t"] {
            let model: Vec<_> = model.into_iter().flat_map(|model| ["-m", model]).collect();
            let arguments = [&[verb, "-f"], &model[..], &["a.llmz"]].concat();
            let ended = shell.run(&arguments).expect(3).saying(&right);
            let ended = found.iter().fold(ended, |ended, digest| ended.saying(digest));
            assert!(ended.stdout.is_empty());
            assert_eq!(shell.read("a"), text(), "the old output stays");
            let arguments = [&["-dc"], &model[..]].concat();
            assert!(shell.pipe(&arguments, &archive).expect(3).stdout.is_empty());
        }
    }
    assert_eq!(shell.names(), ["a", "a.llmz", "changed", "tiny"]);
}

#[test]
fn not_even_stored_chunks_come_out_where_the_model_is_missing() {
    let shell = with_archive();
    let mut random = Random::new(1);
    let noise = (0..2000).map(|_| random.bits() as u8);
    let content: Vec<u8> = noise.chain(text()).collect();
    shell.write("b", &content);
    shell.run(&["--no-mix", "-m", "tiny", "--chunk-size=1000", "b"]).expect(0);
    let listed = json(shell.run(&["-l", "--json", "b.llmz"]).expect(0));
    let chunks = listed["files"][0]["streams"][0]["chunks"].as_array().unwrap();
    assert_eq!(chunks[0]["method"], "stored", "or this tests nothing");
    assert_ne!(chunks[2]["method"], "stored", "or this tests nothing");
    assert!(shell.run(&["-dc", "-T1", "b.llmz"]).expect(3).stdout.is_empty());
    assert_eq!(shell.run(&["-dc", "-m", "tiny", "b.llmz"]).expect(0).stdout, content);
}

#[test]
fn a_stored_archive_and_the_default_model_need_no_other() {
    let shell = with_archive();
    shell.write("b", b"x");
    shell.run(&["--no-mix", "-m", "tiny", "b"]).expect(0);
    assert_eq!(shell.run(&["-dc", "b.llmz"]).expect(0).stdout, b"x");
    let plain = shell.run(&["-c", "a"]).expect(0).stdout;
    assert_eq!(shell.run(&["-c", "-m", "default", "a"]).expect(0).stdout, plain);
    assert_eq!(shell.pipe(&["-dc", "-m", "changed"], &plain).expect(0).stdout, text());
    assert_ne!(shell.read("a.llmz"), plain);
}

#[test]
fn names_that_lead_nowhere_are_refused() {
    let shell = with_archive();
    for (name, code) in [
        ("org/none", 3),
        ("./none", 2),
        ("/none", 2),
        ("no such", 2),
        ("none", 3),
        ("a", 2), // a file
        ("", 2),
        ("org/none@../x", 2),
    ] {
        shell.run(&["-c", "--offline", "-m", name, "a"]).expect(code);
    }
    fs::create_dir(shell.path("empty")).unwrap();
    shell.run(&["-c", "-m", "empty", "a"]).expect(1).saying("config.json");
    shell.run(&["-dc", "-m", "empty", "a.llmz"]).expect(1);
    shell.run(&["-dc", "-m", "org/none", "a.llmz"]).expect(3).saying("org/none");
}

#[test]
fn a_model_is_carried_to_a_machine_without_a_network() {
    let shell = with_archive();
    shell.run(&["models", "export", "tiny", "-o", "tiny.tar"]).expect(0);
    shell.run(&["models", "export", "tiny", "-o", "tiny.tar"]).expect(1).saying("-f");
    std::os::unix::fs::symlink("/proc/self/fd/1", shell.path("out")).unwrap();
    for arguments in [&["-o", "out"][..], &["-f", "-o", "out"]] {
        let arguments = [&["models", "export", "tiny"], arguments].concat();
        assert!(shell.run(&arguments).expect(0).stdout == shell.read("tiny.tar"));
        assert!(shell.path("out").is_symlink());
    }
    let other = Shell::new();
    other.write("a.llmz", &shell.read("a.llmz"));
    other.write("tiny.tar", &shell.read("tiny.tar"));
    other.run(&["-dc", "a.llmz"]).expect(3).saying("models import FOLDER");
    let done = json(other.run(&["models", "import", "--json", "tiny.tar"]).expect(0));
    assert_eq!(done["models"][0]["digest"], digests().0);
    assert_eq!(other.run(&["-dc", "a.llmz"]).expect(0).stdout, text());
    other.write("a", &text());
    assert_eq!(
        other.run(&["-c", "--no-mix", "-m", "tiny", "a"]).expect(0).stdout,
        shell.read("a.llmz")
    );
    other.run(&["models", "import", "tiny.tar"]).expect(0).saying("here already");

    let folder = Shell::new();
    folder.write("a.llmz", &shell.read("a.llmz"));
    let source = shell.path("tiny");
    folder.run(&["models".as_ref(), "import".as_ref(), source.as_os_str()]).expect(0);
    assert_eq!(folder.run(&["-dc", "a.llmz"]).expect(0).stdout, text());
}

#[test]
fn a_file_that_is_not_what_was_exported_leaves_nothing() {
    let shell = with_archive();
    shell.run(&["models", "export", "tiny", "-o", "good.tar"]).expect(0);
    let good = shell.read("good.tar");
    let at = |needle: &[u8]| good.windows(needle.len()).position(|w| w == needle).unwrap();
    let patched = |from: &[u8], to: &[u8]| {
        let mut bytes = good.clone();
        let place = at(from);
        bytes[place..place + to.len()].copy_from_slice(to);
        bytes
    };
    let weights = at(b"model.embed_tokens");
    let mut flipped = good.clone();
    flipped[weights + 100_000] ^= 1;
    let digest = digests().0;
    let cases = [
        ("empty", Vec::new()),
        ("no tar", b"hello, world".repeat(100)),
        ("cut in a header", good[..700].to_vec()),
        ("cut in the weights", good[..weights + 1000].to_vec()),
        ("a bit in the weights", flipped),
        ("another digest", patched(digest.as_bytes(), &[b'0'; 64])),
        ("no schema", patched(b"\"schema\"", b"\"schemb\"")),
        ("a name that leads out", patched(b"\"tokenizer.json\"", b"\"../kenizer.json\"")),
        ("a name that is absolute", patched(b"\"tokenizer.json\"", b"\"/okenizer.json\"")),
        ("an entry too many", [&good[..good.len() - 1024], &good[..]].concat()),
        ("another length", patched(b"\"len\": ", b"\"len\":9")),
    ];
    for (what, bytes) in cases {
        let other = Shell::new();
        other.write("bad.tar", &bytes);
        let ended = other.run(&["models", "import", "bad.tar"]);
        assert_eq!(ended.code, Some(4), "{what}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{what}: {}", ended.stderr);
        let root = other.path("home/.local/share/llmzip/models");
        assert_eq!(fs::read_dir(root).unwrap().count(), 0, "{what}");
    }
    let end_of_content = good.len() - 1024 - 512; // less the tar's end and padding
    for len in (0..end_of_content).step_by(good.len() / 40) {
        let other = Shell::new();
        other.write("bad.tar", &good[..len]);
        other.run(&["models", "import", "bad.tar"]).expect(4);
    }
}

#[test]
fn files_that_changed_since_they_came_are_found_out() {
    let shell = with_archive();
    shell.run(&["models", "import", "tiny"]).expect(0);
    shell.run(&["models", "verify"]).expect(0).saying("good");
    let (right, changed) = digests();
    let weights = imported(&shell).join("model.safetensors");
    let time = fs::metadata(&weights).unwrap().modified().unwrap();
    fs::write(&weights, &tiny::files_with_one_bit_changed()[1].1).unwrap();
    let file = fs::File::options().write(true).open(&weights).unwrap();
    for is_hidden in [false, true] {
        if is_hidden {
            file.set_modified(time).unwrap(); // size and time are as recorded
        }
        let ended = shell.run(&["-dc", "a.llmz"]).expect(3).saying(&right).saying(&changed);
        assert!(ended.stdout.is_empty());
        shell.run(&["models", "verify"]).expect(4).saying(&right).saying(&changed);
        let name = imported(&shell);
        shell.run(&["-c".as_ref(), "-m".as_ref(), name.as_os_str(), "a".as_ref()]).expect(4);
        let label = imported(&shell).file_name().unwrap().to_str().unwrap().to_owned();
        for verb in
            [&["export", "-o", "out", &label][..], &["quantize", "--int8", "-o", "out", &label]]
        {
            shell.run(&[&["models"], verb].concat()).expect(4).saying(&right);
            assert!(!shell.path("out").exists());
        }
    }
    shell.run(&["models", "import", "tiny"]).expect(0); // brings the good one back
    shell.run(&["models", "verify"]).expect(0);
    assert_eq!(shell.run(&["-dc", "a.llmz"]).expect(0).stdout, text());
}

#[test]
fn a_model_that_is_too_damaged_to_load_is_damaged() {
    for name in ["model.safetensors", "tokenizer.json", "config.json"] {
        let shell = with_archive();
        shell.run(&["models", "import", "tiny"]).expect(0);
        let path = imported(&shell).join(name);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_len(path.metadata().unwrap().len() / 2).unwrap();
        let model = imported(&shell);
        let compress =
            ["-c".as_ref(), "--no-mix".as_ref(), "-m".as_ref(), model.as_os_str(), "a".as_ref()];
        let ended = shell.run(&compress).expect(4).saying(&digests().0).saying("models rm");
        assert!(ended.stdout.is_empty(), "{name}");
        // Of files that were never here nobody knows what they were.
        fs::remove_dir_all(shell.path("home/.local/share/llmzip/models/.digests")).unwrap();
        shell.run(&compress).expect(1);
    }
}

#[test]
fn models_are_listed_found_and_removed() {
    let shell = with_archive();
    shell.run(&["models", "import", "tiny"]).expect(0);
    let list = json(shell.run(&["models", "list", "--json"]).expect(0));
    assert_eq!(list["schema"], 1);
    let models = list["models"].as_array().unwrap();
    assert_eq!((&models[0]["label"], &models[1]["label"]), (&"default".into(), &"tiny".into()));
    assert_eq!(
        (&models[1]["place"], &models[1]["digest"]),
        (&"imported".into(), &digests().0.into())
    );
    let names = shell.run(&["models", "list", "-q"]).expect(0).stdout;
    assert_eq!(names, b"default\ntiny\n");
    assert!(!shell.run(&["models", "ls"]).expect(0).stdout.is_empty());
    fs::rename(shell.path("tiny"), shell.path("elsewhere")).unwrap();
    let path = shell.run(&["models", "path", "tiny"]).expect(0).stdout;
    assert_eq!(String::from_utf8(path).unwrap().trim_end(), imported(&shell).to_str().unwrap());
    assert!(!shell.run(&["models", "path"]).expect(0).stdout.is_empty());
    let info = json(shell.run(&["models", "info", "--json", "tiny"]).expect(0));
    let n_parameters = info["models"][0]["n_parameters"].as_u64().unwrap();
    let memory = info["models"][0]["weights_memory"].as_u64().unwrap();
    assert!((396 * n_parameters..=400 * n_parameters).contains(&(100 * memory)), "{memory}");

    shell.run(&["models", "rm", "elsewhere"]).expect(2).saying("not in the store");
    shell.run(&["models", "rm", "default"]).expect(2);
    shell.run(&["models", "rm", "none", "-n", "tiny"]).expect(3).saying("would be removed");
    shell.run(&["models", "path", "tiny"]).expect(0);
    shell.run(&["models", "rm", "tiny"]).expect(0);
    shell.run(&["models", "path", "tiny"]).expect(3);
    assert!(shell.path("elsewhere/config.json").exists());
}

#[test]
fn a_label_is_shown_as_text_and_never_becomes_a_command() {
    let shell = with_archive();
    let hostile = "x; rm -rf \u{202e}~ $(reboot)";
    fs::rename(shell.path("tiny"), shell.path(hostile)).unwrap();
    shell.run(&["-c", "-o", "b.llmz", "-m", hostile, "a"]).expect(2); // -c and -o
    shell.run(&["-o", "b.llmz", "--no-mix", "-m", hostile, "a"]).expect(0);
    let ended = shell.run(&["-dc", "b.llmz"]).expect(3);
    assert!(!ended.stderr.contains('\u{202e}') && !ended.stderr.contains("models pull"));
    let listed = shell.run(&["-lv", "b.llmz"]).expect(0).stdout;
    assert!(!String::from_utf8(listed).unwrap().contains('\u{202e}'));
}

#[test]
fn the_store_is_where_the_environment_says() {
    let shell = with_archive();
    let run = |variable: &str, value: &str, arguments: &[&str]| {
        let mut command = shell.command(arguments);
        command.env(variable, shell.path(value));
        end(command)
    };
    run("LLMZIP_MODEL_DIR", "m", &["models", "import", "tiny"]).expect(0);
    run("XDG_DATA_HOME", "d", &["models", "import", "tiny"]).expect(0);
    assert!(shell.path("m").is_dir() && shell.path("d/llmzip/models").is_dir());
    assert_eq!(run("LLMZIP_MODEL_DIR", "m", &["-dc", "a.llmz"]).expect(0).stdout, text());
    shell.run(&["-dc", "a.llmz"]).expect(3);
    // What transformers left in its cache is found wherever it is told to be.
    let commit = "0123456789abcdef0123456789abcdef01234567";
    for (variable, value, cache) in [
        ("HF_HUB_CACHE", "c", "c"),
        ("HF_HOME", "f", "f/hub"),
        ("XDG_CACHE_HOME", "x", "x/huggingface/hub"),
    ] {
        let snapshot = shell.path(cache).join("models--org--tiny/snapshots").join(commit);
        tiny::write(&snapshot, &tiny::files());
        assert_eq!(run(variable, value, &["-dc", "a.llmz"]).expect(0).stdout, text(), "{variable}");
        let archive =
            run(variable, value, &["-c", "--no-mix", "-m", "org/tiny", "a"]).expect(0).stdout;
        let listed = String::from_utf8(shell.pipe(&["-lv"], &archive).expect(0).stdout).unwrap();
        assert!(listed.contains(&format!("org/tiny@{commit}")), "{listed}");
    }
}

#[test]
fn models_of_one_name_are_told_apart_by_their_folders() {
    let shell = with_archive();
    shell.run(&["models", "import", "tiny"]).expect(0);
    let first = imported(&shell);
    tiny::write(&shell.path("other/tiny"), &tiny::files_with_one_bit_changed());
    shell.run(&["models", "import", "other/tiny"]).expect(0);
    fs::remove_dir_all(shell.path("tiny")).unwrap();
    let folder = first.file_name().unwrap().to_str().unwrap();
    for verb in ["info", "verify", "rm"] {
        shell.run(&["models", verb, "tiny"]).expect(2).saying("2 models").saying(folder);
    }
    shell.run(&["-cm", "tiny", "a"]).expect(2).saying(folder);
    shell.run(&["models", "rm", folder]).expect(0);
    assert!(!first.exists());
    let list = json(shell.run(&["models", "list", "--json"]).expect(0));
    assert_eq!(list["models"].as_array().unwrap().len(), 2);
    shell.run(&["models", "info", "tiny"]).expect(0);
}

#[test]
fn a_model_that_is_there_only_in_part_is_found_out() {
    for name in ["model.safetensors", "config.json", "tokenizer.json"] {
        let shell = with_archive();
        shell.run(&["models", "import", "tiny"]).expect(0);
        shell.run(&["models", "verify"]).expect(0);
        fs::remove_file(imported(&shell).join(name)).unwrap();
        shell.run(&["models", "verify"]).expect(4).saying("only in part");
        shell.run(&["models", "import", "tiny"]).expect(0);
        shell.run(&["models", "verify"]).expect(0);
    }
}

#[test]
fn what_cannot_be_loaded_is_not_taken_in() {
    for name in ["model.safetensors", "tokenizer.json"] {
        let shell = with_archive();
        let weights = shell.read(format!("tiny/{name}"));
        shell.write(format!("tiny/{name}"), &weights[..weights.len() / 2]);
        shell.run(&["models", "import", "tiny"]).expect(1).saying(name);
        let list = json(shell.run(&["models", "list", "--json"]).expect(0));
        assert_eq!(list["models"].as_array().unwrap().len(), 1, "{name}");
    }
}

#[test]
fn a_file_is_no_model() {
    let shell = with_archive();
    for file in ["tiny/model.safetensors", "a"] {
        shell.run(&["-cm", file, "a"]).expect(2).saying("is a file").saying("models import");
    }
}

/// What a foreign file holds does not steer the terminal.
#[test]
fn messages_have_no_control_characters() {
    let shell = with_archive();
    shell.run(&["models", "export", "tiny", "-o", "tiny.tar"]).expect(0);
    let mut file = shell.read("tiny.tar");
    file[148..156].copy_from_slice(b"\x1b[31mX\x07 "); // the checksum of the first header
    shell.write("hostile.tar", &file);
    let ended = shell.run(&["models", "import", "hostile.tar"]).expect(4);
    let said = &ended.stderr;
    assert!(!said.contains(['\x1b', '\x07']), "{}", said.escape_debug());
}

/// `tiny.tar` with `label` for the exported model's and `weights` for its weights, all hashes right.
fn bundle(label: &str, weights: &[u8]) -> Vec<u8> {
    let mut files = tiny::files();
    files[1].1 = weights.to_owned();
    let listed: Vec<Value> = [0, 1, 2]
        .map(|i| {
            let (name, bytes) = &files[i];
            let blake3 = blake3::hash(bytes).to_hex().to_string();
            serde_json::json!({ "name": name, "len": bytes.len(), "blake3": blake3 })
        })
        .into();
    let digest = tiny::digest(&files);
    let manifest =
        serde_json::json!({"schema": 1, "label": label, "digest": digest, "files": listed});
    let mut tar = tar::Builder::new(Vec::new());
    let manifest = ("llmzip-model.json", manifest.to_string().into_bytes());
    for (name, bytes) in std::iter::once(manifest).chain(files) {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn a_bundle_is_loaded_before_it_is_taken_in() {
    let shell = Shell::new();
    let weights = &tiny::files()[1].1;
    shell.write("good.tar", &bundle("mine", weights));
    shell.run(&["models", "import", "good.tar"]).expect(0);
    shell.run(&["models", "rm", "mine"]).expect(0);
    shell.write("junk.tar", &bundle("mine", &b"junk".repeat(1000)));
    let ended = shell.run(&["models", "import", "junk.tar"]).expect(1).saying("safetensors");
    assert!(!ended.stderr.contains(".tmp"), "{}", ended.stderr);
    let hub = format!("org/name@{}", "0".repeat(40));
    for label in ["default", "", ".", "..", "org/name", "org/name@main", &hub, &hub[4..]] {
        shell.write("label.tar", &bundle(label, weights));
        shell.run(&["models", "import", "label.tar"]).expect(4).saying("has the label");
    }
    tiny::write(&shell.path("default"), &tiny::files());
    shell.run(&["models", "import", "./default"]).expect(2).saying("rename");
    let list = json(shell.run(&["models", "list", "--json"]).expect(0));
    assert_eq!(list["models"].as_array().unwrap().len(), 1);
}

/// A model of the hub's cache is carried under its own name: who imports it cannot tell that it is the
/// hub's.
#[test]
fn a_model_of_the_hub_is_carried_by_its_name() {
    let shell = with_archive();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let snapshot = format!("home/.cache/huggingface/hub/models--org--small/snapshots/{commit}");
    tiny::write(&shell.path(&snapshot), &tiny::files());
    shell.run(&["models", "export", "org/small", "-o", "small.tar"]).expect(0);
    let other = Shell::new();
    other.write("small.tar", &shell.read("small.tar"));
    other.run(&["models", "import", "small.tar"]).expect(0);
    other.run(&["models", "path", "small"]).expect(0);
    other.write("a.llmz", &shell.read("a.llmz"));
    assert_eq!(other.run(&["-dc", "a.llmz"]).expect(0).stdout, text());
}

#[test]
fn imports_and_removals_at_the_same_time() {
    let shell = with_archive();
    shell.run(&["models", "export", "tiny", "-o", "tiny.tar"]).expect(0);
    fs::rename(shell.path("tiny"), shell.path("elsewhere")).unwrap();
    std::thread::scope(|scope| {
        let import =
            || (0..12).for_each(|_| drop(shell.run(&["models", "import", "tiny.tar"]).expect(0)));
        let remove = || {
            for _ in 0..24 {
                let ended = shell.run(&["models", "rm", "tiny"]);
                assert!(matches!(ended.code, Some(0 | 3)), "{}", ended.stderr);
            }
        };
        scope.spawn(import);
        scope.spawn(import);
        scope.spawn(remove);
    });
}

/// A card that is a named pipe has nobody at its other end.
#[test]
fn pipes_among_a_models_files_are_passed_over() {
    let shell = with_archive();
    let pipe = shell.path("tiny/README.md");
    assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
    for verb in ["info", "import", "verify"] {
        shell.run(&["models", verb, "./tiny"]).expect(0);
    }
    fs::remove_file(shell.path("tiny/config.json")).unwrap();
    let pipe = shell.path("tiny/config.json");
    assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
    shell.run(&["-c", "-m", "./tiny", "a"]).expect(1).saying("config.json");
}

/// Models that nobody used yet are read once, and not without a word.
#[test]
fn a_search_for_a_digest_is_said_and_recorded() {
    let shell = with_archive();
    for name in ["one", "two"] {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let snapshot =
            format!("home/.cache/huggingface/hub/models--org--{name}/snapshots/{commit}");
        tiny::write(&shell.path(&snapshot), &tiny::files_with_one_bit_changed());
    }
    fs::rename(shell.path("tiny"), shell.path("elsewhere")).unwrap();
    shell.run(&["-dc", "a.llmz"]).expect(3).saying("reading 2 models");
    let ended = shell.run(&["-dc", "a.llmz"]).expect(3);
    assert!(!ended.stderr.contains("reading"), "{}", ended.stderr);
}

#[test]
fn a_model_that_is_too_large_is_refused_with_what_helps() {
    let shell = with_archive();
    let ended = shell.run(&["-c", "--memlimit", "100k", "-m", "tiny", "a"]).expect(5);
    ended.saying("models quantize --int8").saying("--memlimit");
}
