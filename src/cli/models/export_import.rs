//! `models export` and `models import`: model bundles.

use super::command::ModelCommand;
use super::show::ModelEntry;
use crate::cli::exit::UsageError;
use crate::cli::names::shown;
use crate::cli::output::{OutputFile, OutputPlace};
use crate::cli::progress::ProgressCounter;
use crate::cli::signals::unfinished;
use crate::hub::{self, FoundModel, Manifest, Store, StoredModel};
use anyhow::{Context, Result};
use std::fs::{self, File, Permissions};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Bytes collected before they are written or handed out.
const BUFFER_LEN: usize = 1 << 16;

impl ModelCommand<'_> {
    /// Writes the model to `file`.
    pub fn export(&mut self, model: &Path, file: &Path, force: bool) -> Result<()> {
        let found = self.find_unchanged(model)?;
        let Some(folder) = found.folder() else {
            let message = "the default model is compiled into every llmzip and needs no export";
            return Err(UsageError(message.into()).into());
        };
        let store = self.session.models.store();
        let entry = ModelEntry::of(&found, store)?;
        let export = |out: &mut dyn Write| {
            let progress = self.progress(found.label(), Some(entry.len));
            let manifest = hub::export(folder, found.label(), out, &|n| progress.add(n))?;
            progress.finish();
            anyhow::Ok(manifest)
        };
        let manifest = match OutputPlace::of(file, force).with_context(|| shown(file))? {
            OutputPlace::Stream(stream) => {
                let out = stream.open().context("cannot open").with_context(|| shown(file))?;
                export(&mut BufWriter::with_capacity(BUFFER_LEN, out))?
            }
            OutputPlace::File(file) => {
                let out = OutputFile::create(&file, force).with_context(|| shown(&file))?;
                let mut out = BufWriter::with_capacity(BUFFER_LEN, out);
                let manifest = export(&mut out)?;
                let out = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
                out.finish(None).with_context(|| shown(&file))?;
                manifest
            }
        };
        self.report(entry.with_digest(&manifest.digest), "exported");
        Ok(())
    }

    /// Imports the model in the file or folder `source`.
    pub fn import(&mut self, source: &Path) -> Result<()> {
        let store = self.session.models.store();
        let root = store.imports()?;
        let staging = Staging::new(root).with_context(|| shown(root))?;
        let progress = self.progress(&shown(source), None);
        let tell = |n| progress.add(n);
        let manifest = if source.is_dir() {
            let found = self.find(source)?;
            self.session.models.try_folder(source)?; // unusable models are not imported
            hub::copy(source, found.label(), staging.path(), &tell)?
        } else {
            let file = File::open(source).context("cannot open")?;
            hub::import(BufReader::with_capacity(BUFFER_LEN, file), staging.path(), &tell)?
        };
        progress.finish();
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

/// Temporary folder that is removed unless renamed, also on a signal.
pub struct Staging(Option<TempDir>);

impl Staging {
    /// Creates a folder in `root`, which need not exist.
    ///
    /// # Errors
    /// I/O errors.
    pub fn new(root: &Path) -> std::io::Result<Self> {
        fs::create_dir_all(root)?;
        let mut path = unfinished();
        let mut builder = tempfile::Builder::new();
        builder.prefix(".llmzip-").suffix(".tmp").permissions(Permissions::from_mode(0o777));
        let folder = builder.tempdir_in(root)?;
        *path = Some(folder.path().to_owned().into());
        Ok(Self(Some(folder)))
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        self.0.as_ref().map_or(Path::new(""), TempDir::path)
    }

    /// Renames it to `folder`, in the same parent folder.
    ///
    /// # Errors
    /// I/O errors.
    pub fn rename(mut self, folder: &Path) -> std::io::Result<()> {
        let mut path = unfinished();
        fs::rename(self.path(), folder)?;
        *path = None;
        self.0.take().map(TempDir::keep);
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let mut path = unfinished();
        if self.0.take().is_some() {
            *path = None;
        }
    }
}
