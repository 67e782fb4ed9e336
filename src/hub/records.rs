//! Digests that were computed before, so that a model is found without reading all models again.
//!
//! A record is a hint. It says what a folder's files hashed to when they had these sizes and times;
//! whoever loads a model computes the digest again. The first record of a
//! folder stays, so that files which changed later are found out.

use super::cache::{failed, write_whole};
use super::identity::{folder_digest, hex, hexadecimal};
use crate::error::Result;
use crate::models::checkpoint_files::{CheckpointFiles, read_limited};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Longest record that is read, in bytes.
const MAX_RECORD_LEN: u64 = 1 << 20;

/// The records of all folders, one file for each.
#[derive(Debug, Clone)]
pub struct Records(Option<PathBuf>);

/// The record of one folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Human-readable; not read.
    folder: String,
    #[serde(with = "hexadecimal")]
    digest: [u8; 32],
    stamps: Vec<Stamp>,
}

/// One file as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    name: String,
    len: u64,
    modified_ns: u128,
}

impl Records {
    /// Records in `folder`, which need not exist; without one, nothing is remembered.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self(folder)
    }

    /// The digest of `folder` as it was recorded, its files changed since or not.
    pub fn recorded(&self, folder: &Path) -> Option<[u8; 32]> {
        self.read(folder).map(|record| record.digest)
    }

    /// The digest of `folder`, if its files are those of its record by size and time.
    pub fn fresh(&self, folder: &Path) -> Option<[u8; 32]> {
        let record = self.read(folder)?;
        (stamps(folder).ok()? == record.stamps).then_some(record.digest)
    }

    /// The digest of `folder`: the recorded one, or computed now, which may take a while.
    ///
    /// # Errors
    /// Those of [`folder_digest`].
    pub fn digest(&self, folder: &Path) -> Result<[u8; 32]> {
        self.fresh(folder).map_or_else(|| self.compute(folder), Ok)
    }

    /// The digest of `folder`, computed now, and recorded where no other is.
    ///
    /// # Errors
    /// Those of [`folder_digest`].
    pub fn compute(&self, folder: &Path) -> Result<[u8; 32]> {
        self.observe(folder, || folder_digest(folder).map(|digest| (digest, digest)))
    }

    /// Records the digest that `read` finds while it reads `folder`, where no other is recorded and
    /// no file changes meanwhile; returns what else `read` gives.
    ///
    /// # Errors
    /// Those of `read`; I/O errors.
    pub fn observe<T>(
        &self,
        folder: &Path,
        read: impl FnOnce() -> Result<(T, [u8; 32])>,
    ) -> Result<T> {
        let before = stamps(folder)?;
        let (value, digest) = read()?;
        let is_new = self.recorded(folder).is_none_or(|recorded| recorded == digest);
        if is_new && stamps(folder)? == before {
            self.write(folder, &digest, before);
        }
        Ok(value)
    }

    /// Forgets `folder`.
    pub fn forget(&self, folder: &Path) {
        if let Some(path) = self.path(folder) {
            drop(fs::remove_file(path)); // a record too many does no harm
        }
    }

    /// Returns the file of the record of `folder`, which must be there.
    pub(super) fn path(&self, folder: &Path) -> Option<PathBuf> {
        let folder = folder.canonicalize().ok()?;
        let name = hex(&blake3::hash(folder.as_os_str().as_encoded_bytes()).into());
        Some(self.0.as_ref()?.join(format!("{name}.json")))
    }

    fn read(&self, folder: &Path) -> Option<Record> {
        serde_json::from_slice(&read_limited(&self.path(folder)?, MAX_RECORD_LEN).ok()?).ok()
    }

    fn write(&self, folder: &Path, digest: &[u8; 32], stamps: Vec<Stamp>) {
        let record = Record { folder: folder.display().to_string(), digest: *digest, stamps };
        if let (Some(path), Ok(json)) = (self.path(folder), serde_json::to_vec(&record)) {
            drop(write_whole(&path, &json)); // without a record, only time is lost
        }
    }
}

/// Sizes and times of the model's files in `folder`.
fn stamps(folder: &Path) -> Result<Vec<Stamp>> {
    let form = CheckpointFiles::of_folder(folder)?;
    let stamp = |name: &str| {
        let path = folder.join(name);
        let metadata = path.metadata().map_err(|e| failed("reading", &path, e))?;
        let modified = metadata.modified().map_err(|e| failed("reading", &path, e))?;
        let modified_ns = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Ok(Stamp { name: name.to_owned(), len: metadata.len(), modified_ns })
    };
    form.files().into_iter().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::ModelFiles;
    use std::time::{Duration, SystemTime};

    fn write(folder: &Path, name: &str, bytes: &[u8], age_s: u64) {
        fs::write(folder.join(name), bytes).unwrap();
        let file = fs::File::options().write(true).open(folder.join(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1000 - age_s)).unwrap();
    }

    /// A folder with the files of a model, whatever they hold.
    fn model(folder: &Path) {
        let files = [("config.json", "c"), ("model.safetensors", "ww"), ("tokenizer.json", "ttt")];
        files.into_iter().for_each(|(name, text)| write(folder, name, text.as_bytes(), 9));
    }

    #[test]
    fn the_digest_is_that_of_the_files() {
        let folder = tempfile::tempdir().unwrap();
        model(folder.path());
        let files = ModelFiles { config: b"c", weights: b"ww", tokenizer: b"ttt" };
        assert_eq!(folder_digest(folder.path()).unwrap(), files.digest());
    }

    #[test]
    fn a_record_is_believed_while_sizes_and_times_stay() {
        let (folder, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let records = Records::new(Some(dir.path().join("new")));
        model(folder.path());
        assert_eq!(records.fresh(folder.path()), None);
        let digest = records.digest(folder.path()).unwrap();
        assert_eq!(records.fresh(folder.path()), Some(digest));
        write(folder.path(), "model.safetensors", b"wx", 9);
        assert_eq!(records.digest(folder.path()).unwrap(), digest, "nothing shows the change");
        assert_ne!(records.compute(folder.path()).unwrap(), digest);
        write(folder.path(), "model.safetensors", b"wx", 8);
        assert_eq!(records.fresh(folder.path()), None);
        assert_ne!(records.digest(folder.path()).unwrap(), digest);
        assert_eq!(records.recorded(folder.path()), Some(digest), "the first record stays");
        records.forget(folder.path());
        assert_eq!(records.recorded(folder.path()), None);
    }

    #[test]
    fn records_that_make_no_sense_are_none() {
        let (folder, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let records = Records::new(Some(dir.path().to_owned()));
        model(folder.path());
        let digest = records.digest(folder.path()).unwrap();
        let path = records.path(folder.path()).unwrap();
        for text in ["", "{}", "{\"digest\": \"xyz\"}", "[[[["] {
            fs::write(&path, text).unwrap();
            assert_eq!(records.digest(folder.path()).unwrap(), digest);
            assert_eq!(records.fresh(folder.path()), Some(digest));
        }
    }
}
