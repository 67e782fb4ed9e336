//! One cache for two programs: `hf-hub` reads what `llmzip models pull` downloaded, llmzip finds what
//! `hf-hub` did, and neither downloads it again. The hub is llmzip's stub.
//!
//! Run by `just interop`, since `hf-hub` takes minutes to build. The program is `$LLMZIP`, or that of
//! llmzip's release build.

#[allow(dead_code, reason = "llmzip's tests use the rest")]
#[path = "../../stub_hub/mod.rs"]
mod stub_hub;
#[allow(dead_code, reason = "llmzip's tests use the rest")]
#[path = "../../tiny/mod.rs"]
mod tiny;

use hf_hub::{HFClientBuilder, HFClientSync};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use stub_hub::{COMMIT, Fault, StubHub};
use tempfile::TempDir;

/// A stub hub, and a machine whose only cache is the one that both programs use.
struct Machine {
    hub: StubHub,
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { hub: StubHub::new(&tiny::files()), folder: tempfile::tempdir().unwrap() }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn client(&self) -> HFClientSync {
        let client = HFClientBuilder::new().endpoint(&self.hub.endpoint).cache_dir(self.cache());
        client.token("none").build_sync().unwrap()
    }

    /// Downloads `name` with `hf-hub`, or finds it in the cache.
    fn download(&self, name: &str, is_local: bool) -> Result<PathBuf, hf_hub::HFError> {
        let model = self.client().model("org", "tiny");
        model.download_file().filename(name.to_owned()).local_files_only(is_local).send()
    }

    /// Runs llmzip with `arguments`.
    fn llmzip(&self, arguments: &[&str]) -> Output {
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release/llmzip");
        let program = std::env::var_os("LLMZIP").map_or(built, PathBuf::from);
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("HOME", self.folder.path()).env("HF_HUB_CACHE", self.cache());
        command.env("HF_ENDPOINT", &self.hub.endpoint);
        command.output().unwrap_or_else(|e| panic!("{}: {e}", program.display()))
    }

    #[track_caller]
    fn llmzip_succeeds(&self, arguments: &[&str]) {
        let output = self.llmzip(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }

    /// Requests that either server has had.
    fn requests(&self) -> usize {
        self.hub.hub_log().len() + self.hub.storage_log().len()
    }
}

#[test]
fn hf_hub_reads_what_llmzip_downloaded() {
    let machine = Machine::new();
    machine.llmzip_succeeds(&["models", "pull", "org/tiny"]);
    let (n_requests, n_downloads) = (machine.requests(), machine.hub.storage_log().len());
    for (name, bytes) in tiny::files() {
        let path = machine.download(name, true).unwrap();
        assert!(fs::read(&path).unwrap() == bytes, "{name}");
        let snapshot = machine.cache().join("models--org--tiny/snapshots").join(COMMIT);
        assert_eq!(path, snapshot.join(name));
    }
    assert_eq!(machine.requests(), n_requests, "hf-hub asked for what was there");
    // Where it may ask, it does, and then takes the bytes that are there.
    for (name, bytes) in tiny::files() {
        assert!(fs::read(machine.download(name, false).unwrap()).unwrap() == bytes, "{name}");
    }
    assert_eq!(machine.hub.storage_log().len(), n_downloads, "hf-hub downloaded weights again");
}

#[test]
fn llmzip_finds_what_hf_hub_downloaded() {
    let machine = Machine::new();
    for (name, _) in tiny::files() {
        machine.download(name, false).unwrap();
    }
    let n_downloads = machine.hub.storage_log().len();
    assert_eq!(n_downloads, 1, "the weights");
    fs::write(machine.folder.path().join("a"), "the same words again, ".repeat(20)).unwrap();
    let n_requests = machine.requests();
    machine.llmzip_succeeds(&["compress", "--offline", "-m", "org/tiny", "a"]);
    machine.llmzip_succeeds(&["decompress", "-o", "b", "a.llmz"]);
    let content = |name| fs::read(machine.folder.path().join(name)).unwrap();
    assert_eq!(content("a"), content("b"));
    assert_eq!(machine.requests(), n_requests, "llmzip asked for what was there");
    machine.llmzip_succeeds(&["models", "pull", "org/tiny"]);
    assert_eq!(machine.hub.storage_log().len(), n_downloads, "llmzip downloaded weights again");
}

/// docs/decisions/own-hub-client.md: where this fails, a reason for a client of our own is gone.
#[test]
fn hf_hub_keeps_bytes_that_llmzip_refuses() {
    for fault in [Fault::OneBit, Fault::TooLong] {
        let machine = Machine::new();
        machine.hub.set_fault(fault);
        let path = machine.download("model.safetensors", false).unwrap();
        assert!(fs::read(path).unwrap() != tiny::files()[1].1, "{fault:?}");

        let machine = Machine::new();
        machine.hub.set_fault(fault);
        assert!(!machine.llmzip(&["models", "pull", "org/tiny"]).status.success(), "{fault:?}");
        let snapshot = machine.cache().join("models--org--tiny/snapshots").join(COMMIT);
        assert!(!snapshot.join("model.safetensors").exists(), "{fault:?}");
    }
}
