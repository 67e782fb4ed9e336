//! The files of a model in a folder, in the layout of Hugging Face's hub.

use super::checkpoint_files::{CONFIG, CheckpointFiles, MAX_JSON_LEN, WeightsFormat, read_limited};
use super::read_once::ReadOnce;
use super::{Architecture, Identity, TokenizerFile, Weights};
use crate::error::Result;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Largest file of a tokenizer, in bytes.
const MAX_TOKENIZER_LEN: u64 = 1 << 28;

/// The files of a folder that are its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFolder {
    /// The folder, or the GGUF file, by which it was found: the name that archives have as label.
    named: PathBuf,
    folder: PathBuf,
    form: CheckpointFiles,
}

impl ModelFolder {
    /// Finds the model in `folder`: `model.gguf` alone, or `config.json`, weights (`model.safetensors`,
    /// `pytorch_model.bin`, or what the index of either names), a tokenizer (`tokenizer.json`,
    /// `tokenizer.model`, or `vocab.json` and `merges.txt`). `folder` may be a GGUF file itself.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if a file cannot be read,
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if one is missing; where it is of
    /// a family that llmzip does not run, that is said before anything that is missing.
    pub fn find(folder: &Path) -> Result<Self> {
        if let Some(name) = folder.file_name().and_then(OsStr::to_str).filter(|_| folder.is_file())
        {
            let (named, parent) = (folder.to_owned(), folder.parent().unwrap_or(Path::new("")));
            return Ok(Self {
                named,
                folder: parent.to_owned(),
                form: CheckpointFiles::gguf(name),
            });
        }
        let form = CheckpointFiles::of_folder(folder).map_err(|missing| {
            let config = read_limited(&folder.join(CONFIG), MAX_JSON_LEN);
            let refused = config.ok().and_then(|config| Architecture::parse(&config).err());
            refused.map_or(missing, |error| error.at(folder.display()))
        })?;
        Ok(Self { named: folder.to_owned(), folder: folder.to_owned(), form })
    }

    /// All files, in the order in which the model's digest takes them.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.paths(self.form.identity_files())
    }

    /// All files that the model is loaded from: an index of weights, too.
    pub fn all_files(&self) -> impl Iterator<Item = PathBuf> {
        self.paths(self.form.files())
    }

    /// Files with weights.
    pub fn weights_files(&self) -> impl Iterator<Item = PathBuf> {
        self.paths(&self.form.weights)
    }

    /// For people: the format of the weights, and in how many files they are.
    pub fn description(&self) -> String {
        self.form.description()
    }

    fn paths<N: AsRef<Path>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> impl Iterator<Item = PathBuf> {
        names.into_iter().map(|name| self.folder.join(name))
    }

    /// Computes the identity that archives name the model by, labelled with the name of the folder or file:
    /// BLAKE3 over each file's length (64 bits, little-endian) and bytes, in the order of
    /// [`ModelFolder::files`]. Reads all files.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io)
    pub fn identity(&self) -> Result<Identity> {
        let files: Vec<PathBuf> = self.files().collect();
        Ok(self.identity_of(&ReadOnce::open(&files, blake3::Hasher::new())?.finish()?))
    }

    /// The identity whose digest is that of `hasher`, which has all files.
    pub(super) fn identity_of(&self, hasher: &blake3::Hasher) -> Identity {
        let name = self.named.file_name().unwrap_or(self.named.as_os_str());
        let digest = hasher.finalize().into();
        Identity { digest, label: name.to_string_lossy().into(), builtin_code: None }
    }

    /// Reads `config.json`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io), and those of [`Architecture::parse`].
    pub fn architecture(&self) -> Result<Architecture> {
        Architecture::parse(&self.config_json()?)
    }

    /// The GGUF file, where the model is one.
    pub(super) fn gguf(&self) -> Option<PathBuf> {
        let is_one = self.form.weights_format == WeightsFormat::Gguf;
        is_one.then(|| self.folder.join(&self.form.weights[0]))
    }

    /// Reads the bytes of `config.json`; of a GGUF file, what they would be.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io);
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where a file is too long, or no GGUF.
    pub fn config_json(&self) -> Result<Vec<u8>> {
        match self.gguf() {
            Some(path) => Weights::open_gguf(&path)?.0.config(),
            None => read_limited(&self.folder.join(CONFIG), MAX_JSON_LEN),
        }
    }

    /// The tokenizer's files.
    pub(super) fn tokenizer_paths(&self) -> impl Iterator<Item = PathBuf> {
        self.paths(&self.form.tokenizer)
    }

    /// Opens the weights, whose bytes go through `hasher` as they are read.
    ///
    /// # Errors
    /// Those of [`Weights::open`].
    pub(super) fn weights(&self, hasher: blake3::Hasher) -> Result<Weights<'static>> {
        Weights::open_hashed(&self.paths(&self.form.weights).collect::<Vec<_>>(), hasher)
    }

    /// Reads the tokenizer's files.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io)
    pub fn tokenizer(&self) -> Result<TokenizerFiles> {
        let files = self.tokenizer_paths().map(|path| read_limited(&path, MAX_TOKENIZER_LEN));
        let is_sentencepiece = self.form.tokenizer[0].ends_with(".model");
        Ok(TokenizerFiles { files: files.collect::<Result<_>>()?, is_sentencepiece })
    }
}

/// A tokenizer's files, in memory.
pub struct TokenizerFiles {
    files: Vec<Vec<u8>>,
    is_sentencepiece: bool,
}

impl TokenizerFiles {
    /// Their bytes, in the order in which the model's digest takes them.
    pub(super) fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.files.iter().map(Vec::as_slice)
    }

    /// The layout that they are in.
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
