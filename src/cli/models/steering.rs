//! Verbs of `llmzip models` on files of steering vectors.

use super::command::{ModelCommand, damage_of};
use super::show_steering::SteeringEntry;
use crate::cli::exit::UsageError;
use crate::cli::names::shown;
use crate::cli::output::{OutputFile, write_to};
use crate::cli::standard;
use crate::hub::{FoundSteering, Store, is_steering_name};
use anyhow::{Context, Result};
use std::fs;
use std::io::Write;
use std::path::Path;

impl ModelCommand<'_> {
    /// Shows what is in the file.
    pub fn steering_info(&mut self, found: &FoundSteering) -> Result<()> {
        let entry = SteeringEntry::of(found)?;
        if !self.json {
            entry.print(&mut standard::lines()?)?;
        }
        self.steering.push(entry);
        Ok(())
    }

    /// Reads the file. There is no record of its digest: archives have it.
    pub fn verify_steering(&mut self, found: &FoundSteering) -> Result<()> {
        let entry = SteeringEntry::of(found).map_err(|e| damage_of(e, found.is_stored))?;
        self.report_steering(entry, "readable");
        Ok(())
    }

    /// Removes an imported file, whatever is in it.
    pub fn remove_steering(&mut self, found: &FoundSteering, dry_run: bool) -> Result<()> {
        if !found.is_stored {
            let message = "is not in the store, and only imported files can be removed";
            return Err(UsageError(message.into()).into());
        }
        let entry = SteeringEntry::of(found).unwrap_or_else(|_| SteeringEntry::unread(found));
        if !dry_run {
            self.session.models.store().remove_steering(found)?;
        }
        self.report_steering(entry, if dry_run { "would be removed" } else { "removed" });
        Ok(())
    }

    /// Writes the file's bytes to `file`.
    pub fn export_steering(
        &mut self,
        found: &FoundSteering,
        file: &Path,
        force: bool,
    ) -> Result<()> {
        let bytes = found.read()?;
        let entry = SteeringEntry::of_bytes(found, &bytes)?;
        write_to(file, force, None, |out| Ok(out.write_all(&bytes)?))?;
        self.report_steering(entry, "exported");
        Ok(())
    }

    /// Copies the file `source` into the store, under its own name.
    pub fn import_steering(&mut self, source: &Path) -> Result<()> {
        let store = self.session.models.store();
        let source = FoundSteering::of_path(source);
        let bytes = source.read()?;
        SteeringEntry::of_bytes(&source, &bytes)?;
        let name = source.path.file_name().unwrap_or_default();
        let Some(name) = name.to_str().filter(|name| is_steering_name(name)) else {
            let message =
                format!("{} is no name for steering vectors: rename it", shown(name.as_ref()));
            return Err(UsageError(message).into());
        };
        let _lock = store.lock();
        let (found, is_new) = put(store, name, &bytes)?;
        let entry = SteeringEntry::of(&found)?;
        self.report_steering(entry, if is_new { "imported" } else { "here already" });
        Ok(())
    }
}

/// Gives `bytes` the name `name` in the store, unless the same are there; returns whether they are new.
fn put(store: &Store, name: &str, bytes: &[u8]) -> Result<(FoundSteering, bool)> {
    let folder = store.steering_folder()?;
    let path = folder.join(name);
    let found = FoundSteering { name: name.to_owned(), path, is_stored: true };
    let is_there = found.path.symlink_metadata().is_ok();
    if is_there && found.read().is_ok_and(|there| there == bytes) {
        return Ok((found, false));
    }
    if is_there && SteeringEntry::of(&found).is_ok() {
        let message = "other steering vectors of that name are here: rename the file, or remove \
                       them with:  llmzip models rm";
        return Err(UsageError(format!("{message} {}", shown(name.as_ref()))).into());
    }
    fs::create_dir_all(&folder).with_context(|| shown(&folder))?;
    let write = || {
        let mut out = OutputFile::create(&found.path, is_there)?; // what is there is damaged
        out.write_all(bytes)?;
        out.finish(None, true)
    };
    write().with_context(|| shown(&found.path))?;
    Ok((found, true))
}
