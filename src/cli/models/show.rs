//! Descriptions of models, human-readable and as JSON (docs/cli.md).

use crate::cli::list::DIGEST_DIGITS;
use crate::cli::names::shown;
use crate::cli::size::grouped;
use crate::hub::{Facts, FoundModel, Place, Store, hex};
use crate::models::{Model, ModelFolder};
use crate::ops::Isa;
use crate::train::awq::AwqReport;
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Description of a model.
#[derive(Debug, Serialize)]
pub struct ModelEntry {
    pub label: String,
    pub place: &'static str,
    id: Option<String>,
    commit: Option<String>,
    folder: Option<String>,
    form: String,
    pub len: u64,
    pub digest: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    facts: Option<ModelFacts>,
    /// Of one that was rounded for texts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rounded: Vec<RoundedLayer>,
}

/// A linear layer that was rounded for texts.
#[derive(Debug, Serialize)]
struct RoundedLayer {
    module: String,
    /// Squared error of the outputs on the texts, in parts of their squares.
    error: f64,
    /// The same had it been rounded to the nearest.
    error_of_nearest: f64,
}

/// Details that `info` adds.
#[derive(Debug, Serialize)]
struct ModelFacts {
    architecture: Option<String>,
    vocab_size: Option<u64>,
    n_parameters: Option<u64>,
    weights_memory: Option<u64>,
    licence: Option<String>,
}

impl ModelEntry {
    /// Describes the compiled-in model.
    pub fn default_model() -> Self {
        let files = Model::default_files();
        let len = files.config.len() + files.weights.len() + files.tokenizer.len();
        Self {
            label: "default".to_owned(),
            place: FoundModel::Default.place(),
            id: None,
            commit: None,
            folder: None,
            form: "safetensors".to_owned(),
            len: len as u64,
            digest: Some(Model::default_identity().hex()),
            facts: None,
            rounded: Vec::new(),
        }
    }

    /// Describes the model `found`, with its recorded digest.
    ///
    /// # Errors
    /// InvalidModel where a folder holds no model; I/O errors.
    pub fn of(found: &FoundModel, store: &Store) -> crate::Result<Self> {
        let Some(folder) = found.folder() else { return Ok(Self::default_model()) };
        let files = ModelFolder::find(folder)?;
        let len = |path: PathBuf| path.metadata().map_or(0, |file| file.len());
        let (id, commit) = match found {
            FoundModel::Stored(model) => match &model.place {
                Place::Hub { id, commit } => (Some(id.to_string()), Some(commit.clone())),
                Place::Imported => (None, None),
            },
            _ => (None, None),
        };
        Ok(Self {
            label: found.label().to_owned(),
            place: found.place(),
            id,
            commit,
            folder: Some(folder.to_string_lossy().into_owned()),
            form: files.description(),
            len: files.all_files().map(len).sum(),
            digest: store.records().fresh(folder).as_ref().map(hex),
            facts: None,
            rounded: Vec::new(),
        })
    }

    /// Returns the entry with this digest.
    pub fn with_digest(mut self, digest: &[u8; 32]) -> Self {
        self.digest = Some(hex(digest));
        self
    }

    /// Returns the entry with what became of layers that were rounded for texts.
    pub fn with_rounded(mut self, reports: &[AwqReport]) -> Self {
        let layer = |AwqReport { module, rounded, nearest, .. }: &AwqReport| RoundedLayer {
            module: module.clone(),
            error: *rounded,
            error_of_nearest: *nearest,
        };
        self.rounded = reports.iter().map(layer).collect();
        self
    }

    /// Returns the entry with the details from the files in `folder`, or of the compiled-in model.
    ///
    /// # Errors
    /// InvalidModel; I/O errors.
    pub fn with_facts(mut self, folder: Option<&Path>) -> crate::Result<Self> {
        let facts = match folder {
            Some(folder) => Facts::of_folder(folder)?,
            None => {
                let files = Model::default_files();
                let licence = Some(env!("CARGO_PKG_LICENSE").to_owned());
                Facts { licence, ..Facts::of_bytes(files.config, files.weights, "") }
            }
        };
        let Facts { architecture, vocab_size, n_parameters, licence } = facts;
        let footprint = match folder {
            Some(folder) => ModelFolder::find(folder)?.architecture().ok().map(|a| a.footprint()),
            None => Some(Model::default_model(Isa::detect())?.architecture().footprint()),
        };
        let weights_memory = footprint.map(|footprint| footprint.weights);
        let facts = ModelFacts { architecture, vocab_size, n_parameters, weights_memory, licence };
        self.facts = Some(facts);
        Ok(self)
    }

    /// Returns the first digits of the digest.
    pub fn short_digest(&self) -> &str {
        self.digest.as_deref().map_or("-", |digest| &digest[..DIGEST_DIGITS])
    }

    /// Prints a line of a list.
    ///
    /// # Errors
    /// I/O errors.
    pub fn print_line(&self, out: &mut dyn Write) -> io::Result<()> {
        let (len, digest, form) = (grouped(self.len), self.short_digest(), &self.form);
        let label = self.label.escape_debug();
        writeln!(
            out,
            "{len:>15}  {digest:<DIGEST_DIGITS$}  {:<11}  {form:<22}  {label}",
            self.place
        )
    }

    /// Prints all details in human-readable form.
    ///
    /// # Errors
    /// I/O errors.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = |name: &str, value: &str| writeln!(out, "  {name:<13} {value}");
        let number = |n: Option<u64>, unit: &str| {
            n.map_or("-".to_owned(), |n| format!("{}{unit}", grouped(n)))
        };
        let text = |text: &Option<String>| shown(Path::new(text.as_deref().unwrap_or("-")));
        line("model", &self.label.escape_debug().to_string())?;
        line("where", self.place)?;
        line("folder", &text(&self.folder))?;
        line("files", &format!("{}, {} bytes", self.form, grouped(self.len)))?;
        line("digest", self.digest.as_deref().unwrap_or("-"))?;
        let Some(facts) = &self.facts else { return Ok(()) };
        line("architecture", &text(&facts.architecture))?;
        line("vocabulary", &number(facts.vocab_size, " tokens"))?;
        line("parameters", &number(facts.n_parameters, ""))?;
        line(
            "memory",
            &number(facts.weights_memory, " bytes for the weights, plus working memory"),
        )?;
        line("licence", &text(&facts.licence))
    }
}
