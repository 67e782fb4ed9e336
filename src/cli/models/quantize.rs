//! `models quantize`: quantization of linear layers to integers.

use super::args::QuantizeArgs;
use super::command::ModelCommand;
use super::show::ModelEntry;
use crate::cli::exit::UsageError;
use crate::cli::names::shown;
use crate::cli::progress::ProgressCounter;
use crate::cli::staging::Staging;
use crate::hub::{FoundModel, label_of};
use crate::models::{Architecture, Model, ModelFolder, QuantWeights, Quantization};
use crate::ops::ActivationBits;
use crate::train::awq::AwqReport;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

impl ModelCommand<'_> {
    /// Writes `model`, quantized as `kind` says, to `folder`, else to one named after the model.
    pub fn quantize(
        &mut self,
        model: &Path,
        kind: &QuantizeArgs,
        folder: Option<&Path>,
    ) -> Result<()> {
        let bits = kind.bits();
        if ![4, 8].contains(&bits) || (bits == 8 && (kind.group.is_some() || kind.awq)) {
            let message =
                format!("--bits {bits}, expected 8, or 4 with or without --group and --awq");
            return Err(UsageError(message).into());
        }
        let activations = match kind.activation_bits.unwrap_or(if bits == 4 { 16 } else { 8 }) {
            8 => ActivationBits::Eight,
            16 => ActivationBits::Sixteen,
            bits => return Err(UsageError(format!("{bits} bits, expected 8 or 16")).into()),
        };
        let found = self.find_unchanged(model)?;
        let folder = folder.map_or_else(|| folder_name(&found, bits), Path::to_owned);
        if folder.symlink_metadata().is_ok() {
            let message = format!("{} exists already; -o names another folder", shown(&folder));
            return Err(UsageError(message).into());
        }
        let texts = read(&kind.data)?;
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        let staging = Staging::new(parent.unwrap_or(Path::new(".")));
        let staging = staging.with_context(|| shown(&folder))?;
        let quantize = |path: &Path| -> Result<Vec<AwqReport>> {
            let source = ModelFolder::find(path)?;
            let quantization = kind.quantization(&source.architecture()?, activations);
            let (rounded, reports) = match kind.awq {
                true => self.round_for_texts(path, quantization, &texts, kind.samples)?,
                false => Default::default(),
            };
            let (voice, draws) = (self.session.voice, self.session.progress);
            let progress = ProgressCounter::new(draws, voice, found.label(), None);
            source.quantize(quantization, &rounded, staging.path(), &|n| progress.add(n))?;
            progress.finish();
            Ok(reports)
        };
        let reports = match found.folder() {
            Some(source) => quantize(source)?,
            None => {
                let source = default_folder(staging.path())?;
                let reports = quantize(source.path())?;
                source.close().context("cannot remove the default model's files")?;
                reports
            }
        };
        staging.rename(&folder).with_context(|| shown(&folder))?;
        let label = label_of(&folder.file_name().unwrap_or_default().to_string_lossy());
        let found = FoundModel::Folder { folder, label };
        let entry = ModelEntry::of(&found, self.session.models.store())?;
        self.report(entry.with_digest(&found.digest()?).with_rounded(&reports), "quantized");
        Ok(())
    }
}

impl QuantizeArgs {
    /// As asked for; groups are the largest that divide the network's layers unless told.
    fn quantization(&self, network: &Architecture, activations: ActivationBits) -> Quantization {
        if self.bits() == 8 {
            return Quantization { weights: QuantWeights::Int8, activations };
        }
        let default = match network {
            Architecture::Transformer(config) => config.default_group(),
            Architecture::Recurrent(_) => None,
        };
        Quantization::int4(self.group.or(default).unwrap_or(32), activations)
    }
}

/// Reads the texts for --awq.
fn read(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>> {
    let read =
        |path: &PathBuf| fs::read(path).with_context(|| format!("cannot read {}", shown(path)));
    paths.iter().map(read).collect()
}

/// Returns `NAME-int8` or `NAME-int4` for the model `ORG/NAME@COMMIT`.
fn folder_name(found: &FoundModel, bits: u8) -> PathBuf {
    format!("{}-int{bits}", found.name()).into()
}

/// Writes the compiled-in model's files to a folder in `parent`, which a signal removes.
fn default_folder(parent: &Path) -> Result<tempfile::TempDir> {
    let folder =
        tempfile::tempdir_in(parent).context("cannot create a folder for the default model")?;
    let files = Model::default_files();
    fs::write(folder.path().join("config.json"), files.config)?;
    fs::write(folder.path().join("model.safetensors"), files.weights)?;
    fs::write(folder.path().join("tokenizer.json"), files.tokenizer)?;
    Ok(folder)
}
