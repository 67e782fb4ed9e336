//! A model in one file, to carry it to a machine without a network: a tar archive of the model's
//! files after a manifest that has the BLAKE3 of each.
//!
//! `tar -xf` unpacks it too. Nothing in it is trusted: a name is a single normal component, one of
//! those that make a model, and announced by the manifest with its size and hash.

use super::cache::{failed, write_whole};
use super::identity::{folder_digest, hex, hexadecimal};
use super::store::{check_config, label_of};
use crate::error::{Error, ErrorKind, Result};
use crate::models::form::is_file_name;
use crate::models::form::{Form, MAX_JSON_LEN, read_limited};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use tar::{Archive, Builder, EntryType, Header};

/// Name of the manifest, in the file and in an imported model's folder.
pub const MANIFEST: &str = "llmzip-model.json";

/// Raised when a field changes its name or meaning.
const SCHEMA: u32 = 1;

/// Most files of a model.
const MAX_FILES: usize = 2000;

/// Longest manifest, in bytes.
const MAX_MANIFEST_LEN: u64 = 1 << 20;

/// What a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    schema: u32,
    /// What archives made with the model call it.
    pub label: String,
    /// What names the model.
    #[serde(with = "hexadecimal")]
    pub digest: [u8; 32],
    files: Vec<ManifestFile>,
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ManifestFile {
    name: String,
    len: u64,
    #[serde(with = "hexadecimal")]
    blake3: [u8; 32],
}

impl Manifest {
    /// What the model in `folder` consists of; reads all of it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] where there is no whole model in it, [`ErrorKind::Io`].
    pub fn of_folder(folder: &Path, label: &str) -> Result<Self> {
        let form = Form::of_folder(folder)?;
        let file = |name: &str| {
            let (len, blake3) = hash(&folder.join(name))?;
            Ok(ManifestFile { name: name.to_owned(), len, blake3 })
        };
        let files = form.files().into_iter().map(file).collect::<Result<_>>()?;
        let digest = folder_digest(folder)?;
        Ok(Self { schema: SCHEMA, label: label_of(label), digest, files })
    }

    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], [`ErrorKind::Unsupported`].
    pub fn parse(json: &[u8]) -> Result<Self> {
        let manifest: Self =
            serde_json::from_slice(json).map_err(|e| corrupt(format!("{MANIFEST}: {e}")))?;
        if manifest.schema != SCHEMA {
            let message = format!("{MANIFEST} has schema {}, known is {SCHEMA}", manifest.schema);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let names: HashSet<_> = manifest.files.iter().map(|file| &file.name).collect();
        if manifest.files.len() > MAX_FILES || names.len() != manifest.files.len() {
            return Err(corrupt(format!("{MANIFEST} names too many files, or one twice")));
        }
        let is_bad = |name: &&ManifestFile| !is_file_name(&name.name) || name.name == MANIFEST;
        if let Some(file) = manifest.files.iter().find(is_bad) {
            return Err(corrupt(format!("{MANIFEST} has {:?}, expected a file's name", file.name)));
        }
        if label_of(&manifest.label) != manifest.label {
            return Err(corrupt(format!("{MANIFEST} has a label that no archive can have")));
        }
        Ok(manifest)
    }

    /// Name for a folder with this model and no other: the label with all odd characters replaced,
    /// and the digest's first digits.
    pub fn folder_name(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._@".contains(c) { c } else { '-' };
        let name: String = self.label.chars().map(plain).take(100).collect();
        format!("{}-{}", name.trim_start_matches('.'), &hex(&self.digest)[..12])
    }

    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("strings and numbers")
    }
}

/// Writes the model in `folder` to `out` as one file; `progress` is told of bytes written.
///
/// # Errors
/// Those of [`Manifest::of_folder`]; [`ErrorKind::InvalidModel`] where a file changes meanwhile.
pub fn export(
    folder: &Path,
    label: &str,
    out: impl Write,
    progress: &dyn Fn(u64),
) -> Result<Manifest> {
    let manifest = Manifest::of_folder(folder, label)?;
    let mut out = Builder::new(out);
    let write_failed = |e| Error::io("writing the model's file", e);
    let json = manifest.to_json();
    let mut append = |name: &str, len: u64, data: &mut dyn Read| {
        let mut header = Header::new_ustar();
        header.set_size(len);
        header.set_mode(0o644);
        header.set_entry_type(EntryType::Regular);
        out.append_data(&mut header, name, data).map_err(write_failed)
    };
    append(MANIFEST, json.len() as u64, &mut &json[..])?;
    for file in &manifest.files {
        let path = folder.join(&file.name);
        let data = File::open(&path).map_err(|e| failed("reading", &path, e))?;
        let mut data =
            Hashing { inner: data.take(file.len), hasher: blake3::Hasher::new(), progress };
        append(&file.name, file.len, &mut data)?;
        if data.hasher.finalize() != file.blake3 {
            let message = format!("{} was changed while it was read", path.display());
            return Err(Error::new(ErrorKind::InvalidModel, message));
        }
    }
    out.into_inner().and_then(|mut out| out.flush()).map_err(write_failed)?;
    Ok(manifest)
}

/// Unpacks the file that [`export`] wrote into the empty folder `folder` and checks all of it;
/// `progress` is told of bytes read.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where it is damaged, truncated or no such file; [`ErrorKind::InvalidModel`]
/// where llmzip cannot run what is in it; [`ErrorKind::Io`].
pub fn import(input: impl Read, folder: &Path, progress: &dyn Fn(u64)) -> Result<Manifest> {
    let mut archive = Archive::new(input);
    let read_failed =
        |e: io::Error| corrupt(format!("no file of `models export`, or damaged: {e}"));
    // Raw: a long name or a sparse file is an entry of its own kind, and so refused.
    let mut entries = archive.entries().map_err(read_failed)?.raw(true);
    let mut next = |name: &str| {
        let entry = entries.next().ok_or_else(|| corrupt(format!("truncated before {name}")))?;
        let entry = entry.map_err(read_failed)?;
        let is_it = entry.header().entry_type() == EntryType::Regular
            && *entry.path_bytes() == *name.as_bytes();
        match is_it {
            true => Ok(entry),
            false => Err(corrupt(format!("has another entry where {name} is expected"))),
        }
    };
    let mut json = Vec::new();
    let mut entry = next(MANIFEST)?.take(MAX_MANIFEST_LEN);
    entry.read_to_end(&mut json).map_err(read_failed)?;
    let manifest = Manifest::parse(&json)?;
    for file in &manifest.files {
        let entry = next(&file.name)?;
        if entry.size() != file.len {
            let message =
                format!("{} has {} bytes, expected {}", file.name, entry.size(), file.len);
            return Err(corrupt(message));
        }
        write_checked(entry, file, &folder.join(&file.name), progress)?;
    }
    if entries.next().is_some() {
        return Err(corrupt("has more than its manifest says"));
    }
    check_unpacked(&manifest, folder)?;
    Ok(manifest)
}

/// Copies the model in `from` into the empty folder `folder` and checks the copy.
///
/// # Errors
/// [`ErrorKind::InvalidModel`] where there is no model in it that llmzip can run, or it changes
/// meanwhile; [`ErrorKind::Io`].
pub fn copy(from: &Path, label: &str, folder: &Path, progress: &dyn Fn(u64)) -> Result<Manifest> {
    let manifest = Manifest::of_folder(from, label)?;
    for file in &manifest.files {
        let path = from.join(&file.name);
        let source = File::open(&path).map_err(|e| failed("reading", &path, e))?;
        write_checked(source.take(file.len), file, &folder.join(&file.name), progress)?;
    }
    check_unpacked(&manifest, folder)?;
    Ok(manifest)
}

/// Whether `folder` holds just what `manifest` says, and a model; then puts the manifest there.
fn check_unpacked(manifest: &Manifest, folder: &Path) -> Result<()> {
    let form = Form::of_folder(folder)?;
    let config = read_limited(&folder.join(crate::models::form::CONFIG), MAX_JSON_LEN)?;
    check_config(&config)?;
    let files: HashSet<_> = form.files().into_iter().collect();
    if let Some(file) = manifest.files.iter().find(|file| !files.contains(file.name.as_str())) {
        return Err(corrupt(format!("has {}, which is no file of a model", file.name)));
    }
    let (got, expected) = (hex(&folder_digest(folder)?), hex(&manifest.digest));
    if got != expected {
        return Err(corrupt(format!("the model's digest is {got}, expected {expected}")));
    }
    write_whole(&folder.join(MANIFEST), &manifest.to_json())
}

/// Writes the bytes of `source` to `path`, which must be what `file` says.
fn write_checked(
    source: impl Read,
    file: &ManifestFile,
    path: &Path,
    progress: &dyn Fn(u64),
) -> Result<()> {
    let mut source = Hashing { inner: source, hasher: blake3::Hasher::new(), progress };
    let mut out = File::create_new(path).map_err(|e| failed("writing", path, e))?;
    let len = io::copy(&mut source, &mut out).map_err(|e| failed("writing", path, e))?;
    out.sync_all().map_err(|e| failed("writing", path, e))?;
    if len != file.len || source.hasher.finalize() != file.blake3 {
        drop(fs::remove_file(path)); // the folder goes anyway
        return Err(corrupt(format!("{} is not what the manifest says", file.name)));
    }
    Ok(())
}

/// A reader that hashes and counts what passes.
struct Hashing<'a, R> {
    inner: R,
    hasher: blake3::Hasher,
    progress: &'a dyn Fn(u64),
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        (self.progress)(n as u64);
        Ok(n)
    }
}

/// Length and hash of the file `path`.
fn hash(path: &Path) -> Result<(u64, [u8; 32])> {
    let mut hasher = blake3::Hasher::new();
    let file = File::open(path).map_err(|e| failed("reading", path, e))?;
    hasher.update_reader(file).map_err(|e| failed("reading", path, e))?;
    Ok((hasher.count(), hasher.finalize().into()))
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
