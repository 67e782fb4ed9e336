//! The files in directories, for `-r`.

use super::failures::Failures;
use super::input::Input;
use super::names::shown;
use anyhow::Context;
use std::fs;
use std::path::{Path, PathBuf};

/// Replaces each directory of `inputs` by the regular files in it and in its directories for which `is_wanted`, in
/// the order of their names. Symbolic links in directories are passed over; one that cannot be read becomes a failure.
pub fn expand(
    inputs: &[Input],
    is_wanted: &dyn Fn(&Path) -> bool,
    failures: &mut Failures,
) -> Vec<Input> {
    let mut expanded = Vec::new();
    for input in inputs {
        match input {
            Input::File(path) if path.is_dir() => {
                let mut files = Vec::new();
                collect(path, &mut files, failures);
                expanded.extend(files.into_iter().filter(|path| is_wanted(path)).map(Input::File));
            }
            _ => expanded.push(input.clone()),
        }
    }
    expanded
}

/// Adds the regular files below `folder` to `files`.
fn collect(folder: &Path, files: &mut Vec<PathBuf>, failures: &mut Failures) {
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let mut entries = match entries.context("cannot read the directory") {
        Ok(entries) => entries,
        Err(error) => return failures.note(shown(folder), &error),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let file_type = entry.file_type();
        if file_type.as_ref().is_ok_and(fs::FileType::is_dir) {
            collect(&entry.path(), files, failures);
        } else if file_type.as_ref().is_ok_and(fs::FileType::is_file) {
            files.push(entry.path());
        }
    }
}
