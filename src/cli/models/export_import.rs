//! `models export` and `models import`: model bundles.

use super::command::ModelCommand;
use super::show::ModelEntry;
use crate::cli::exit::UsageError;
use crate::cli::names::{shown, without_suffix};
use crate::cli::output::write_to;
use crate::cli::progress::ProgressCounter;
use crate::cli::staging::Staging;
use crate::hub::{self, FoundAdapter, FoundModel, Manifest, STEERING_SUFFIX, Store, StoredModel};
use crate::local::is_gguf;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

/// Bytes collected before they are handed out.
const BUFFER_LEN: usize = 1 << 16;

impl ModelCommand<'_> {
    /// Writes the model to `file`.
    pub fn export(&mut self, model: &Path, file: &Path, force: bool) -> Result<()> {
        if let Some(found) = self.find_steering(model)? {
            return self.export_steering(&found, file, force);
        }
        if let Some(found) = self.find_adapter(model)? {
            return self.export_adapter(&found, file, force);
        }
        let found = self.find_unchanged(model)?;
        let Some(folder) = found.folder() else {
            let message = "the default model is compiled into every llmzip and needs no export";
            return Err(UsageError(message.into()).into());
        };
        let store = self.session.models.store();
        let entry = ModelEntry::of(&found, store)?;
        let export = |out: &mut dyn Write| {
            let progress = self.progress(found.label(), Some(entry.len));
            let manifest = hub::export(folder, found.name(), out, &|n| progress.add(n))?;
            progress.finish();
            anyhow::Ok(manifest)
        };
        let manifest = write_to(file, force, None, export)?;
        self.report(entry.with_digest(&manifest.digest), "exported");
        Ok(())
    }

    /// Imports the model in the file or folder `source`.
    pub fn import(&mut self, source: &Path) -> Result<()> {
        if without_suffix(source, STEERING_SUFFIX).is_some() && !source.is_dir() {
            return self.import_steering(source);
        }
        if FoundAdapter::is_in(source) {
            return self.import_adapter(source);
        }
        let store = self.session.models.store();
        let root = store.imports()?;
        let staging = Staging::new(root).with_context(|| shown(root))?;
        let progress = self.progress(&shown(source), None);
        let tell = |n| progress.add(n);
        let manifest = if source.is_dir() || is_gguf(source) {
            let found = self.find(source)?;
            self.session.models.try_folder(source)?; // unusable models are not imported
            hub::copy(source, found.name(), staging.path(), &tell)?
        } else {
            let file = File::open(source).context("cannot open")?;
            let file = BufReader::with_capacity(BUFFER_LEN, file);
            let unpacked = hub::import(file, staging.path(), &tell);
            let loaded =
                |manifest| self.session.models.try_folder(staging.path()).map(|()| manifest);
            // The folder is not the user's: the file is named in its place.
            let name = staging.path().display().to_string();
            unpacked.and_then(loaded).map_err(|e| e.renamed(&name, &shown(source)))?
        };
        progress.finish();
        let _lock = store.lock();
        let (folder, is_new) =
            settle(store, staging, &root.join(manifest.folder_name()), &manifest)?;
        let found = FoundModel::Stored(imported(store, &folder)?);
        let entry = ModelEntry::of(&found, store)?.with_digest(&manifest.digest);
        self.report(entry, if is_new { "imported" } else { "here already" });
        Ok(())
    }

    fn progress(&self, name: &str, total: Option<u64>) -> ProgressCounter {
        ProgressCounter::new(self.session.progress, self.session.voice, name, total)
    }
}

/// Gives the unpacked model its folder, unless the same one is there; returns whether it is new.
fn settle(
    store: &Store,
    staging: Staging,
    folder: &Path,
    manifest: &Manifest,
) -> Result<(PathBuf, bool)> {
    let is_here = store.records().compute(folder).is_ok_and(|digest| digest == manifest.digest);
    if !is_here {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| shown(folder))?; // it was damaged
        }
        staging.rename(folder).with_context(|| shown(folder))?;
        store.records().forget(folder);
        store.records().compute(folder)?;
    }
    Ok((folder.to_owned(), !is_here))
}

/// Finds the store's model in `folder`.
fn imported(store: &Store, folder: &Path) -> Result<StoredModel> {
    let found = store.models().into_iter().find(|model| model.folder == folder);
    found.with_context(|| format!("{} changed during the import", shown(folder)))
}
