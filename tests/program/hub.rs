//! Models from a hub, a stub of it on this machine: what comes, what is refused, and what never asks.

#![cfg(feature = "hub")]

use crate::shell::{Ended, Shell, end};
use crate::stub_hub::{COMMIT, Fault, StubHub};
use crate::tiny;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

/// An address where nobody answers.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A machine of its own: home, cache, store.
struct Machine {
    shell: Shell,
    variables: Vec<(&'static str, String)>,
}

impl Machine {
    fn new(endpoint: &str) -> Self {
        let shell = Shell::new();
        shell.write("a", &text());
        // Pauses between attempts are short then.
        let timeout = ("HF_HUB_DOWNLOAD_TIMEOUT", "2".to_owned());
        Self { shell, variables: vec![("HF_ENDPOINT", endpoint.to_owned()), timeout] }
    }

    /// The same machine when `name` is set to `value`.
    fn set(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.variables.retain(|(other, _)| *other != name);
        self.variables.push((name, value.to_owned()));
        self
    }

    fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ended {
        let mut command = self.shell.command(arguments);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        end(command)
    }

    /// The folder of the model in the hub's cache.
    fn repo(&self) -> PathBuf {
        self.shell.path("home").join(".cache/huggingface/hub/models--org--tiny")
    }

    fn snapshot(&self) -> PathBuf {
        self.repo().join("snapshots").join(COMMIT)
    }

    /// Names of the blobs.
    fn blobs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.repo().join("blobs")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// Content that shrinks.
fn text() -> Vec<u8> {
    b"the same words and the same words again, ".repeat(20)
}

fn json(ended: Ended) -> Value {
    serde_json::from_slice(&ended.stdout).unwrap()
}

/// The label of the stub's model.
fn label() -> String {
    format!("org/tiny@{COMMIT}")
}

#[test]
fn a_model_comes_in_the_hubs_own_layout_and_is_then_used_offline() {
    let hub = StubHub::new(&tiny::files());
    hub.set_file("README.md", b"---\nlicense: mit\n---\n# tiny");
    hub.set_file("flax_model.msgpack", b"not wanted");
    let mut machine = Machine::new(&hub.endpoint);
    let pulled = json(machine.run(&["models", "pull", "--json", "org/tiny"]).expect(0));
    let model = &pulled["models"][0];
    assert_eq!(model["digest"], tiny::digest(&tiny::files()));
    assert_eq!((&model["label"], &model["commit"]), (&label().into(), &COMMIT.into()));
    for (name, bytes) in tiny::files() {
        let path = machine.snapshot().join(name);
        assert!(path.is_symlink() && fs::read(&path).unwrap() == bytes, "{name}");
    }
    assert!(!machine.snapshot().join("flax_model.msgpack").exists());
    assert_eq!(fs::read_to_string(machine.repo().join("refs/main")).unwrap(), COMMIT);
    assert_eq!(hub.storage_log().len(), 1, "one large file");

    machine.set("HF_ENDPOINT", &nowhere());
    machine.run(&["--no-mix", "-m", "org/tiny", "a"]).expect(0);
    machine.run(&["models", "pull", &label()]).expect(0);
    machine.run(&["models", "pull", "--offline", "org/tiny"]).expect(0);
    machine.run(&["models", "pull", "org/tiny"]).expect(1).saying("/api/models/org/tiny");
    machine.set("HF_HUB_OFFLINE", "1").run(&["models", "pull", "org/tiny"]).expect(0);
    machine.run(&["models", "pull", "org/other"]).expect(3);
    let info = json(machine.run(&["models", "info", "--json", "org/tiny"]).expect(0));
    let info = &info["models"][0];
    assert_eq!((&info["licence"], &info["architecture"]), (&"mit".into(), &"llama".into()));
    assert_eq!(info["vocab_size"], 400);
    let list = json(machine.shell.run(&["list", "--json", "a.llmz"]).expect(0));
    assert_eq!(list["files"][0]["streams"][0]["model"]["digest"]["label"], label());
}

#[test]
fn compress_fetches_what_it_is_told_to_unless_offline() {
    let hub = StubHub::new(&tiny::files());
    let mut machine = Machine::new(&hub.endpoint);
    let arguments = ["-c", "--offline", "--no-mix", "-m", "org/tiny", "a"];
    machine.run(&arguments).expect(3).saying("llmzip models pull org/tiny");
    machine.set("HF_HUB_OFFLINE", "1");
    machine.run(&["-c", "-m", "org/tiny", "a"]).expect(3);
    assert!(hub.hub_log().is_empty());
    machine.set("HF_HUB_OFFLINE", "0").run(&["--no-mix", "-m", "org/tiny", "a"]).expect(0);
    machine.set("HF_ENDPOINT", &nowhere());
    assert_eq!(machine.run(&["-dc", "a.llmz"]).expect(0).stdout, text());
}

#[test]
fn what_is_measured_is_not_fetched() {
    let hub = StubHub::new(&tiny::files());
    let machine = Machine::new(&hub.endpoint);
    let bench = ["bench", "--no-profile", "-m", "org/tiny", "a"];
    machine.run(&bench).expect(3).saying("llmzip models pull org/tiny");
    assert!(hub.hub_log().is_empty());
    machine.run(&["models", "pull", "org/tiny"]).expect(0);
    machine.run(&bench).expect(0);
}

#[test]
fn a_revision_is_a_branch_a_tag_or_a_commit() {
    let hub = StubHub::new(&tiny::files());
    let machine = Machine::new(&hub.endpoint);
    machine.run(&["models", "pull", "org/tiny@v1"]).expect(0);
    assert_eq!(fs::read_to_string(machine.repo().join("refs/v1")).unwrap(), COMMIT);
    assert!(!machine.repo().join("refs/main").exists());
    for name in ["org/tiny@v1", &label(), "org/tiny"] {
        machine.run(&["models", "path", name]).expect(0);
    }
    machine.run(&["models", "pull", "org/tiny@v2"]).expect(3).saying("check name and revision");
    let other = "f".repeat(40);
    machine.run(&["models", "pull", &format!("org/tiny@{other}")]).expect(3);
    machine.run(&["models", "pull", "org/old"]).expect(0); // renamed: the hub sends to the new name
    for name in ["../x", "org/tiny@../x", "a/b/c", "org/tiny@", "$(x)", "default"] {
        machine.run(&["models", "pull", name]).expect(2);
    }
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let hub = StubHub::new(&tiny::files());
    hub.set_token("hf_secret");
    let mut machine = Machine::new(&hub.endpoint);
    machine.run(&["models", "pull", "org/tiny"]).expect(3).saying("HF_TOKEN");
    machine.set("HF_TOKEN", "hf_wrong");
    let ended = machine.run(&["models", "pull", "org/tiny"]).expect(3).saying("does not permit");
    assert!(!ended.stderr.contains("hf_wrong"), "{}", ended.stderr);
    machine.set("HF_TOKEN", "hf_secret").set("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1");
    machine.run(&["models", "pull", "org/tiny"]).expect(3);
    machine.set("HF_HUB_DISABLE_IMPLICIT_TOKEN", "0");
    let ended = machine.run(&["models", "pull", "org/tiny"]).expect(0);
    assert!(!ended.stderr.contains("hf_secret"), "{}", ended.stderr);
    assert!(!hub.storage_log().is_empty());
    assert!(hub.storage_log().iter().all(|request| request.authorization.is_none()));

    let machine = Machine::new(&hub.endpoint);
    fs::create_dir_all(machine.shell.path("home/.cache/huggingface")).unwrap();
    machine.shell.write("home/.cache/huggingface/token", b"hf_secret\n");
    machine.run(&["models", "pull", "org/tiny"]).expect(0);
}

#[test]
fn a_download_that_breaks_off_is_taken_up_again() {
    let hub = StubHub::new(&tiny::files());
    hub.set_fault(Fault::BreaksOff(5));
    let machine = Machine::new(&hub.endpoint);
    let ended = machine.run(&["models", "pull", "org/tiny"]).expect(0);
    ended.saying("interrupted").saying("next attempt");
    let ranges: Vec<_> = hub.storage_log().iter().map(|request| request.range).collect();
    assert!(ranges.len() == 6 && ranges.is_sorted(), "{ranges:?}");

    let hub = StubHub::new(&tiny::files());
    hub.set_fault(Fault::BreaksOff(usize::MAX));
    let machine = Machine::new(&hub.endpoint);
    machine.run(&["models", "pull", "org/tiny"]).expect(1).saying("interrupted");
    assert!(!machine.snapshot().join("model.safetensors").exists());
    assert!(machine.blobs().iter().any(|name| name.ends_with(".incomplete")));
    machine.run(&["-c", "--offline", "-m", "org/tiny", "a"]).expect(3);
    // The server that comes next sends all of it, whatever is asked for.
    hub.set_fault(Fault::IgnoresRange);
    machine.run(&["models", "pull", "org/tiny"]).expect(0);
    machine.run(&["models", "verify"]).expect(0);
    let verified = json(machine.run(&["models", "verify", "--json"]).expect(0));
    assert_eq!(verified["models"][0]["digest"], tiny::digest(&tiny::files()));
}

#[test]
fn damaged_downloads_are_refused_and_removed() {
    for (fault, words) in [(Fault::OneBit, "SHA-256"), (Fault::TooLong, "more than the announced")]
    {
        let hub = StubHub::new(&tiny::files());
        hub.set_fault(fault);
        let machine = Machine::new(&hub.endpoint);
        machine.run(&["models", "pull", "org/tiny"]).expect(4).saying(words);
        assert!(!machine.snapshot().join("model.safetensors").exists());
        assert_eq!(machine.blobs().len(), 2, "configuration and tokenizer: {:?}", machine.blobs());
        assert!(!machine.repo().join("refs/main").exists());
        hub.set_fault(Fault::None);
        machine.run(&["models", "pull", "org/tiny"]).expect(0);
    }
}

/// The model with its weights in two shards, under an index that names `second` as the second.
fn sharded(second: &str) -> Vec<(&str, Vec<u8>)> {
    let mut files = tiny::files();
    let (_, weights) = files.remove(1);
    let map = serde_json::json!({ "weight_map": { "a": "one.safetensors", "b": second } });
    files.push(("model.safetensors.index.json", map.to_string().into_bytes()));
    files.push(("one.safetensors", weights[1..].to_vec()));
    files.push((second, weights));
    files
}

#[test]
fn shards_come_whole_and_with_harmless_names_only() {
    let hub = StubHub::new(&sharded("two.safetensors"));
    let machine = Machine::new(&hub.endpoint);
    machine.run(&["models", "pull", "org/tiny"]).expect(0);
    assert_eq!(hub.storage_log().len(), 2);
    let list = json(machine.run(&["models", "list", "--json"]).expect(0));
    assert_eq!(list["models"][1]["form"], "safetensors, 2 shards");
    for name in ["../x.safetensors", "a/b.safetensors", "/tmp/x.safetensors", "..", "two.bin"] {
        let hub = StubHub::new(&sharded(name));
        let machine = Machine::new(&hub.endpoint);
        machine.run(&["models", "pull", "org/tiny"]).expect(1).saying("names the shard");
        assert!(hub.storage_log().is_empty(), "{name}");
    }
}

#[test]
fn what_others_fetched_in_part_is_completed() {
    let hub = StubHub::new(&tiny::files());
    let machine = Machine::new(&hub.endpoint);
    let mut files = tiny::files();
    files.truncate(2);
    files.extend([("vocab.json", b"{}".to_vec()), ("merges.txt", b"".to_vec())]);
    tiny::write(&machine.snapshot(), &files);
    machine.run(&["models", "verify", "org/tiny"]).expect(0); // this state has no branch yet
    machine.run(&["models", "pull", "--progress=plain", "org/tiny"]).expect(0).saying("100 %");
    assert!(hub.storage_log().is_empty(), "the weights were here");
    let verified = json(machine.run(&["models", "verify", "--json"]).expect(0));
    assert_eq!(verified["models"][0]["digest"], tiny::digest(&tiny::files()));
}

#[test]
fn a_model_that_cannot_be_run_is_refused_before_its_weights_come() {
    let hub = StubHub::new(&tiny::files());
    hub.set_file("config.json", br#"{"model_type": "rwkv"}"#);
    let machine = Machine::new(&hub.endpoint);
    machine.run(&["models", "pull", "org/tiny"]).expect(1).saying("config.json");
    assert!(hub.storage_log().is_empty());
    let hub = StubHub::new(&tiny::files()[..2]);
    let machine = Machine::new(&hub.endpoint);
    machine.run(&["models", "pull", "org/tiny"]).expect(1).saying("no tokenizer");
}

#[test]
fn nothing_but_pull_and_compress_asks_the_hub() {
    let hub = StubHub::new(&tiny::files());
    let mut machine = Machine::new(&hub.endpoint);
    machine.run(&["--no-mix", "-m", "org/tiny", "a"]).expect(0);
    let archive = machine.shell.read("a.llmz");
    let asked = hub.hub_log().len();
    machine.run(&["models", "rm", "org/tiny"]).expect(0);
    assert!(!machine.repo().exists());
    let line = format!("llmzip models pull {}", label());
    machine.run(&["-dc", "a.llmz"]).expect(3).saying(&line);
    for arguments in [
        &["-t", "a.llmz"][..],
        &["-dc", "-m", "org/tiny", "a.llmz"],
        &["-t", "-m", &label(), "a.llmz"],
        &["models", "info", "org/tiny"],
        &["models", "verify", "org/tiny"],
        &["models", "export", "org/tiny", "-o", "x"],
    ] {
        machine.run(arguments).expect(3);
    }
    machine.run(&["-l", "a.llmz"]).expect(0);
    machine.run(&["models", "list"]).expect(0);
    assert_eq!(hub.hub_log().len(), asked, "{:?}", hub.hub_log());
    machine.set("HF_ENDPOINT", &nowhere()).run(&["-dc", "a.llmz"]).expect(3).saying(&line);
    machine.set("HF_ENDPOINT", &hub.endpoint).run(&["models", "pull", &label()]).expect(0);
    assert_eq!(machine.run(&["-dc", "a.llmz"]).expect(0).stdout, text());
    assert_eq!(machine.shell.read("a.llmz"), archive);
}

#[test]
fn a_hub_that_is_not_one_is_an_error() {
    let mut machine = Machine::new("ftp://x");
    machine.run(&["models", "pull", "org/tiny"]).expect(2).saying("HF_ENDPOINT");
    machine.set("HF_ENDPOINT", &nowhere());
    machine.run(&["models", "pull", "org/tiny"]).expect(1).saying("fetching http://127.0.0.1");
    machine.run(&["-c", "-m", "org/tiny", "a"]).expect(1);
}

/// A server that has too much to do is asked again, after the pause that it wants, and not for ever.
#[test]
fn a_busy_hub_is_asked_again() {
    for status in ["429 Too Many Requests", "503 Service Unavailable", "502 Bad Gateway"] {
        for pause in [None, Some("1"), Some("Sun, 29 Nov 2026 00:00:00 GMT")] {
            let hub = StubHub::new(&tiny::files());
            hub.set_fault(Fault::Busy(2, status, pause));
            let machine = Machine::new(&hub.endpoint);
            let ended = machine.run(&["models", "pull", "org/tiny"]).expect(0);
            ended.saying(&format!("answers {status}; next attempt in 1 s"));
        }
    }
    let hub = StubHub::new(&tiny::files());
    let machine = Machine::new(&hub.endpoint);
    hub.set_fault(Fault::Busy(usize::MAX, "429 Too Many Requests", Some("7200")));
    machine.run(&["models", "pull", "org/tiny"]).expect(1).saying("try again in 7200 s");
    assert_eq!(hub.hub_log().len(), 1);
    hub.set_fault(Fault::Busy(usize::MAX, "503 Service Unavailable", None));
    machine.run(&["models", "pull", "-q", "org/tiny"]).expect(1).saying("answers 503");
    assert_eq!(hub.hub_log().len(), 1 + 7);
}

/// Lengths that a hub only claims: more than any file has, none, that of another file.
#[test]
fn lengths_are_not_believed() {
    for (fault, code, words) in [
        (Fault::LinkedSize("18446744073709551615"), 1, "has 18446744073709551615 bytes"),
        (Fault::LinkedSize("0"), 1, "has 0 bytes"),
        (Fault::LinkedSize("-1"), 1, "no length"),
        (Fault::OneEtag, 4, "that ETag"),
    ] {
        let hub = StubHub::new(&tiny::files());
        hub.set_fault(fault);
        let machine = Machine::new(&hub.endpoint);
        machine.run(&["models", "pull", "org/tiny"]).expect(code).saying(words);
        assert!(!machine.snapshot().join("model.safetensors").exists(), "{fault:?}");
    }
    // One that was cut short in the cache, by whoever wrote it.
    let hub = StubHub::new(&tiny::files());
    let machine = Machine::new(&hub.endpoint);
    machine.run(&["models", "pull", "org/tiny"]).expect(0);
    let weights = machine.snapshot().join("model.safetensors").canonicalize().unwrap();
    fs::remove_dir_all(machine.snapshot()).unwrap();
    fs::File::options().write(true).open(&weights).unwrap().set_len(1000).unwrap();
    machine.run(&["models", "pull", "org/tiny"]).expect(4).saying("has 1000 bytes");
}

#[test]
fn a_body_that_trickles_is_given_up() {
    let hub = StubHub::new(&tiny::files());
    hub.set_fault(Fault::Trickles);
    let mut machine = Machine::new(&hub.endpoint);
    machine.set("HF_HUB_DOWNLOAD_TIMEOUT", "0.3");
    let ended = machine.run(&["models", "pull", "org/tiny"]).expect(1);
    ended.saying("fewer than 1,024 bytes a second");
    assert!(hub.storage_log().len() > 1);
    hub.set_fault(Fault::None);
    machine.set("HF_HUB_DOWNLOAD_TIMEOUT", "2").run(&["models", "pull", "org/tiny"]).expect(0);
}

/// A mirror keeps files itself, under other addresses and ETags: what it said first counts.
#[test]
fn a_blob_has_the_name_that_the_hub_gives_it() {
    let hub = StubHub::new(&tiny::files());
    hub.set_fault(Fault::OwnStorage);
    let machine = Machine::new(&hub.endpoint);
    machine.run(&["models", "pull", "org/tiny"]).expect(0);
    let weights = &tiny::files()[1].1;
    let sha256 = ring::digest::digest(&ring::digest::SHA256, weights);
    let name = crate::stub_hub::hex(sha256.as_ref());
    assert!(machine.blobs().contains(&name), "{:?}", machine.blobs());
}

/// What one user fetched or imported, others of the machine read.
#[test]
fn files_have_the_modes_that_the_umask_gives() {
    use std::os::unix::fs::PermissionsExt;
    let hub = StubHub::new(&tiny::files());
    let machine = Machine::new(&hub.endpoint);
    tiny::write(&machine.shell.path("other"), &tiny::files_with_one_bit_changed());
    machine.run(&["models", "pull", "org/tiny"]).expect(0);
    machine.run(&["models", "import", "other"]).expect(0);
    machine.shell.write("plain", b"");
    fs::create_dir(machine.shell.path("folder")).unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let [file, folder] = ["plain", "folder"].map(|name| mode(&machine.shell.path(name)));
    let mut left = vec![machine.shell.path("home")];
    let mut n_files = 0;
    while let Some(path) = left.pop() {
        if path.is_dir() {
            assert_eq!(mode(&path), folder, "{}", path.display());
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            assert_eq!(mode(&path), file, "{}", path.display());
            n_files += 1;
        }
    }
    assert!(n_files > 10, "{n_files}");
}

/// On file systems without symbolic links or locks (FAT, some network mounts), the files themselves
/// stand where the links would.
#[test]
fn a_cache_without_links_and_locks_is_filled_all_the_same() {
    let strace = std::process::Command::new("strace").args(["-qq", "-o/dev/null", "true"]).status();
    if !strace.is_ok_and(|status| status.success()) {
        return crate::skip::skip("no strace that works");
    }
    let hub = StubHub::new(&tiny::files());
    let machine = Machine::new(&hub.endpoint);
    let run = |arguments: &[&str]| {
        let program = machine.shell.command::<&str>(&[]);
        let mut command = std::process::Command::new("strace");
        command.args(["-fqq", "-o/dev/null", "-einject=symlink,symlinkat:error=EPERM"]);
        command.args(["-einject=flock:error=ENOLCK", env!("CARGO_BIN_EXE_llmzip")]);
        command.args(arguments).current_dir(machine.shell.path(""));
        command.env("HOME", machine.shell.path("home"));
        program.get_envs().filter(|(_, value)| value.is_none()).for_each(|(name, _)| {
            command.env_remove(name);
        });
        command.envs(machine.variables.iter().map(|(name, value)| (name, value)));
        end(command)
    };
    run(&["models", "pull", "org/tiny"]).expect(0);
    for (name, bytes) in tiny::files() {
        let path = machine.snapshot().join(name);
        assert!(!path.is_symlink() && fs::read(&path).unwrap() == bytes, "{name}");
    }
    run(&["--no-mix", "-m", "org/tiny", "a"]).expect(0);
    assert_eq!(run(&["-dc", "a.llmz"]).expect(0).stdout, text());
    run(&["models", "rm", "org/tiny"]).expect(0);
    assert!(!machine.repo().exists());
}
