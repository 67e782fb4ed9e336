//! The files of a model in a folder, in the layout of Hugging Face's hub.

use super::{Architecture, Identity, TokenizerFile, Weights, invalid};
use crate::error::{Error, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Component, Path, PathBuf};

/// Which files of a folder are its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFolder {
    folder: PathBuf,
    /// Names of the files with weights, in order.
    weights: Vec<String>,
    /// Names of the files that the tokenizer is read from.
    tokenizer: Vec<String>,
}

/// Weights in the order of preference: a file, or the index of several.
const WEIGHTS: [(&str, &str); 2] = [
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
];

/// Tokenizers in the order of preference.
const TOKENIZERS: [&[&str]; 4] = [
    &["tokenizer.json"],
    &["tokenizer.model"],
    &["vocab.json", "merges.txt", "tokenizer_config.json"],
    &["vocab.json", "merges.txt"],
];

/// Larger configurations, indices and tokenizers are refused.
const MAX_TEXT: u64 = 1 << 28;

impl ModelFolder {
    /// The model in `folder`: `config.json`, weights (`model.safetensors`, `pytorch_model.bin`, or
    /// what the index of either names), a tokenizer (`tokenizer.json`, `tokenizer.model`, or
    /// `vocab.json` and `merges.txt`).
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if a file cannot be read,
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if one is missing.
    pub fn find(folder: &Path) -> Result<Self> {
        let is_there = |name: &str| folder.join(name).is_file();
        if !is_there("config.json") {
            return Err(invalid("no config.json: not a model's folder").at(folder.display()));
        }
        let one_file = WEIGHTS.iter().find_map(|&(file, index)| match () {
            () if is_there(file) => Some(Ok(vec![file.to_owned()])),
            () if is_there(index) => Some(shards(folder, index)),
            () => None,
        });
        let missing = |what: &str| invalid(format!("no {what}")).at(folder.display());
        let expected = "model.safetensors or pytorch_model.bin, whole or in shards";
        let weights = one_file.ok_or_else(|| missing(expected))??;
        let tokenizer = TOKENIZERS.iter().find(|files| files.iter().all(|name| is_there(name)));
        let expected = "tokenizer.json, tokenizer.model, or vocab.json and merges.txt";
        let tokenizer = tokenizer.ok_or_else(|| missing(expected))?;
        let tokenizer = tokenizer.iter().map(|&name| name.to_owned()).collect();
        Ok(Self { folder: folder.to_owned(), weights, tokenizer })
    }

    /// All files, in the order in which the model's digest takes them.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        let names = std::iter::once("config.json");
        let names = names.chain(self.weights.iter().chain(&self.tokenizer).map(String::as_str));
        names.map(|name| self.folder.join(name))
    }

    /// What archives name the model by, under the folder's name: BLAKE3 over each file's length (64
    /// bits, little-endian) and bytes, in the order of [`ModelFolder::files`]. Reads all files.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io)
    pub fn identity(&self) -> Result<Identity> {
        let mut hasher = blake3::Hasher::new();
        for path in self.files() {
            let io = |e| Error::io(format!("reading {}", path.display()), e);
            let file = File::open(&path).map_err(io)?;
            hasher.update(&file.metadata().map_err(io)?.len().to_le_bytes());
            hasher.update_reader(file).map_err(io)?;
        }
        let name = self.folder.file_name().unwrap_or(self.folder.as_os_str());
        let digest = hasher.finalize().into();
        Ok(Identity { digest, label: name.to_string_lossy().into(), builtin_code: None })
    }

    /// Bytes of all files with weights.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io)
    pub fn weights_len(&self) -> Result<u64> {
        let len = |name: &String| {
            let path = self.folder.join(name);
            let metadata = std::fs::metadata(&path);
            metadata
                .map(|m| m.len())
                .map_err(|e| Error::io(format!("reading {}", path.display()), e))
        };
        self.weights.iter().map(len).sum()
    }

    /// Reads `config.json`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io), and those of [`Architecture::parse`].
    pub fn architecture(&self) -> Result<Architecture> {
        Architecture::parse(&self.config_json()?)
    }

    /// `config.json` as it stands.
    pub(super) fn config_json(&self) -> Result<Vec<u8>> {
        read(&self.folder.join("config.json"))
    }

    /// The tokenizer's files.
    pub(super) fn tokenizer_paths(&self) -> impl Iterator<Item = PathBuf> {
        self.tokenizer.iter().map(|name| self.folder.join(name))
    }

    /// Opens the weights.
    ///
    /// # Errors
    /// Those of [`Weights::open`].
    pub fn weights(&self) -> Result<Weights<'static>> {
        let paths: Vec<PathBuf> = self.weights.iter().map(|name| self.folder.join(name)).collect();
        Weights::open(&paths)
    }

    /// Reads the tokenizer's files.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io)
    pub fn tokenizer(&self) -> Result<TokenizerFiles> {
        let files = self.tokenizer.iter().map(|name| read(&self.folder.join(name)));
        let is_sentencepiece = self.tokenizer[0].ends_with(".model");
        Ok(TokenizerFiles { files: files.collect::<Result<_>>()?, is_sentencepiece })
    }
}

/// A tokenizer's files, in memory.
pub struct TokenizerFiles {
    files: Vec<Vec<u8>>,
    is_sentencepiece: bool,
}

impl TokenizerFiles {
    /// What they are.
    pub fn file(&self) -> TokenizerFile<'_> {
        match &self.files[..] {
            [model] if self.is_sentencepiece => TokenizerFile::SentencePiece(model),
            [vocab, merges, rest @ ..] => {
                let config = rest.first().map(Vec::as_slice);
                TokenizerFile::Bpe { vocab, merges, config }
            }
            files => TokenizerFile::Json(&files[0]),
        }
    }
}

/// The files that an index names, sorted.
fn shards(folder: &Path, index: &str) -> Result<Vec<String>> {
    let failed = |what: &str| invalid(format!("{index}: {what}")).at(folder.display());
    let json: Value =
        serde_json::from_slice(&read(&folder.join(index))?).map_err(|e| failed(&e.to_string()))?;
    let map = json["weight_map"].as_object().ok_or_else(|| failed("no weight_map"))?;
    let names: BTreeSet<&str> = map.values().filter_map(Value::as_str).collect();
    if names.is_empty() {
        return Err(failed("it names no file"));
    }
    match names.iter().find(|name| !is_plain(name)) {
        Some(name) => Err(failed(&format!("{name:?} is not the plain name of a file"))),
        None => Ok(names.into_iter().map(str::to_owned).collect()),
    }
}

/// Whether `name` is one normal component of a path.
fn is_plain(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let first = components.next();
    matches!(first, Some(Component::Normal(part)) if part == name)
        && components.next().is_none()
        && !name.contains(['\\', ':', '\0'])
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let io = |e| Error::io(format!("reading {}", path.display()), e);
    let len = std::fs::metadata(path).map_err(io)?.len();
    if len > MAX_TEXT {
        let most = MAX_TEXT;
        return Err(invalid(format!("{len} bytes, expected at most {most}")).at(path.display()));
    }
    std::fs::read(path).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn shards_are_plain_names() {
        assert!(is_plain("model-00001-of-00002.safetensors"));
        for name in ["", ".", "..", "../x", "a/b", "/x", "a\\b", "C:x", "x/", "./x"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
