//! Folders of adapters, which get their name only when complete.

use super::names::shown;
use super::staging::Staging;
use crate::models::AdapterFiles;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A folder that is to have an adapter's files.
pub struct AdapterFolder {
    staging: Staging,
    folder: PathBuf,
}

impl AdapterFolder {
    /// Prepares `folder`, which has nothing yet: what cannot be written there fails before any work.
    ///
    /// # Errors
    /// I/O errors.
    pub fn create(folder: &Path) -> Result<Self> {
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        let staging =
            Staging::new(parent.unwrap_or(Path::new("."))).with_context(|| shown(folder))?;
        Ok(Self { staging, folder: folder.to_owned() })
    }

    /// Writes the files and gives the folder its name. Where there is a folder already, its files of these names are
    /// replaced, one after the other.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(self, files: &AdapterFiles) -> Result<()> {
        let Self { staging, folder } = self;
        for (name, bytes) in AdapterFiles::NAMES.into_iter().zip(files.bytes()) {
            let written = write(&staging.path().join(name), bytes);
            written.with_context(|| shown(&folder.join(name)))?;
        }
        if !folder.is_dir() {
            return staging.rename(&folder).with_context(|| shown(&folder));
        }
        for name in AdapterFiles::NAMES {
            let (from, to) = (staging.path().join(name), folder.join(name));
            fs::rename(from, &to).with_context(|| shown(&to))?;
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
