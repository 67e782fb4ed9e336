//! Verbs of `llmzip models` on low-rank adapters.

use super::command::{ModelCommand, damage_of};
use super::show_adapter::AdapterEntry;
use crate::cli::adapter_folder::AdapterFolder;
use crate::cli::exit::UsageError;
use crate::cli::names::shown;
use crate::cli::standard;
use crate::hub::{FoundAdapter, Store, is_adapter_name};
use crate::local::AdapterRef;
use crate::models::AdapterFiles;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

impl ModelCommand<'_> {
    /// Finds the adapter, where `name` is that of one: a folder of its files, or an imported one.
    pub fn find_adapter(&self, name: &Path) -> Result<Option<FoundAdapter>> {
        let store = self.session.models.store();
        let is_stored = |name: &str| store.find_adapter(name).is_some();
        let is_one = match name.is_dir() {
            true => FoundAdapter::is_in(name),
            false => name.to_str().is_some_and(is_stored),
        };
        Ok(if is_one { Some(AdapterRef::parse(name)?.find(store)?) } else { None })
    }

    /// Shows what is in the folder.
    pub fn adapter_info(&mut self, found: &FoundAdapter) -> Result<()> {
        let entry = AdapterEntry::of(found)?;
        if !self.json {
            entry.print(&mut standard::lines()?)?;
        }
        self.adapters.push(entry);
        Ok(())
    }

    /// Reads the files. There is no record of their digest: archives have it.
    pub fn verify_adapter(&mut self, found: &FoundAdapter) -> Result<()> {
        let entry = AdapterEntry::of(found).map_err(|e| damage_of(e, found.is_stored))?;
        self.report_adapter(entry, "readable");
        Ok(())
    }

    /// Removes an imported adapter, whatever is in it.
    pub fn remove_adapter(&mut self, found: &FoundAdapter, dry_run: bool) -> Result<()> {
        if !found.is_stored {
            let message = "is not in the store, and only imported adapters can be removed";
            return Err(UsageError(message.into()).into());
        }
        let entry = AdapterEntry::of(found).unwrap_or_else(|_| AdapterEntry::unread(found));
        if !dry_run {
            self.session.models.store().remove_adapter(found)?;
        }
        self.report_adapter(entry, if dry_run { "would be removed" } else { "removed" });
        Ok(())
    }

    /// Writes the files into the new folder `folder`.
    pub fn export_adapter(
        &mut self,
        found: &FoundAdapter,
        folder: &Path,
        force: bool,
    ) -> Result<()> {
        let files = found.read()?;
        let entry = AdapterEntry::of_files(found, &files)?;
        if folder.symlink_metadata().is_ok() && !force {
            let message = format!("{} exists already; -f overwrites it", shown(folder));
            return Err(UsageError(message).into());
        }
        AdapterFolder::create(folder)?.write(&files)?;
        self.report_adapter(entry, "exported");
        Ok(())
    }

    /// Copies the adapter in the folder `source` into the store, under its own name.
    pub fn import_adapter(&mut self, source: &Path) -> Result<()> {
        let store = self.session.models.store();
        let source = FoundAdapter::of_folder(source);
        let files = source.read()?;
        AdapterEntry::of_files(&source, &files)?;
        if !is_adapter_name(&source.name) {
            let name = shown(source.name.as_ref());
            return Err(UsageError(format!("{name} is no name for an adapter: rename it")).into());
        }
        let _lock = store.lock();
        let (found, is_new) = put(store, &source.name, &files)?;
        let entry = AdapterEntry::of(&found)?;
        self.report_adapter(entry, if is_new { "imported" } else { "here already" });
        Ok(())
    }
}

/// Gives the adapter the name `name` in the store, unless the same is there; returns whether it is new.
fn put(store: &Store, name: &str, files: &AdapterFiles) -> Result<(FoundAdapter, bool)> {
    let root = store.adapter_folder()?;
    let found = FoundAdapter { name: name.to_owned(), folder: root.join(name), is_stored: true };
    let there = found.read().and_then(|there| there.check().map(|_| there));
    if there.as_ref().is_ok_and(|there| there.digest() == files.digest()) {
        return Ok((found, false));
    }
    if there.is_ok() || !store.imported(name).is_empty() {
        let message = "another adapter or model of that name is here: rename the folder, or remove \
                       that one with:  llmzip models rm";
        return Err(UsageError(format!("{message} {}", shown(name.as_ref()))).into());
    }
    let out = AdapterFolder::create(&found.folder)?;
    if found.folder.symlink_metadata().is_ok() {
        fs::remove_dir_all(&found.folder).with_context(|| shown(&found.folder))?; // it was damaged
    }
    out.write(files)?;
    Ok((found, true))
}
