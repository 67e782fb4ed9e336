//! Directories packed into a tar stream, to be compressed.

use super::names::{TAR, shown};
use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use tar::{Builder, EntryType, Header};

/// A directory that a thread packs into a pipe.
pub struct Packing {
    thread: JoinHandle<Result<()>>,
}

impl Packing {
    /// Starts packing `folder`; returns the end of the pipe to read from.
    ///
    /// # Errors
    /// I/O errors.
    pub fn start(folder: &Path) -> Result<(File, Self)> {
        let name = PathBuf::from(folder.file_name().unwrap_or_default());
        let (reader, writer) = io::pipe()?;
        let folder = folder.to_owned();
        let thread = std::thread::Builder::new().spawn(move || pack(&folder, &name, writer));
        let thread = thread.context("cannot start a thread")?;
        Ok((File::from(OwnedFd::from(reader)), Self { thread }))
    }

    /// Waits until the directory is packed.
    ///
    /// # Errors
    /// Errors of packing: the stream that was read is not the whole directory then.
    pub fn finish(self) -> crate::Result<()> {
        let ended = self.thread.join().map_err(|_| anyhow::anyhow!("it ended too early"));
        let message = |e| io::Error::other(format!("{e:#}"));
        ended.flatten().map_err(|e| crate::Error::io("cannot pack the directory", message(e)))
    }
}

/// Returns the path of the tar file that `folder` would be packed into.
pub fn tar_path(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(TAR);
    folder.with_file_name(name)
}

/// Refuses an `output` inside `folder`, which would become a part of itself.
///
/// # Errors
/// I/O errors; that one.
pub fn refuse_inside(folder: &Path, output: &Path) -> Result<()> {
    let parent = output.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new(".")).canonicalize();
    if parent.is_ok_and(|parent| folder.canonicalize().is_ok_and(|f| parent.starts_with(f))) {
        bail!("{} would be inside the directory that is packed", shown(output));
    }
    Ok(())
}

fn pack(folder: &Path, name: &Path, out: PipeWriter) -> Result<()> {
    let mut packer = Packer { out: Builder::new(io::BufWriter::new(out)), links: HashMap::new() };
    packer.add(folder, name, &folder.metadata().with_context(|| shown(folder))?)?;
    packer.out.into_inner()?.flush()?;
    Ok(())
}

struct Packer<W: Write> {
    out: Builder<W>,
    /// Names of files with several links, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Packer<W> {
    /// Adds the file, link or directory at `path`, and all that is in it, as `name`.
    fn add(&mut self, path: &Path, name: &Path, metadata: &Metadata) -> Result<()> {
        let file_type = metadata.file_type();
        if !(file_type.is_file() || file_type.is_dir() || file_type.is_symlink()) {
            say!("llmzip: warning: {}: is a device, a pipe or a socket: not packed", shown(path));
            return Ok(());
        }
        self.add_one(path, name, metadata).with_context(|| shown(path))?;
        if file_type.is_dir() {
            let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
            let mut entries = entries.with_context(|| shown(path))?;
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                let (path, name) = (entry.path(), name.join(entry.file_name()));
                let metadata = path.symlink_metadata().with_context(|| shown(&path))?;
                self.add(&path, &name, &metadata)?;
            }
        }
        Ok(())
    }

    fn add_one(&mut self, path: &Path, name: &Path, metadata: &Metadata) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_metadata(metadata);
        header.set_mtime(metadata.mtime().max(0) as u64); // GNU tar reads no earlier ones
        header.set_size(0);
        if metadata.is_symlink() {
            let target = fs::read_link(path)?;
            let added = match header.set_link_name_literal(target.as_os_str().as_bytes()) {
                Ok(()) => self.out.append_data(&mut header, name, io::empty()),
                Err(_) => self.out.append_link(&mut header, name, target), // a long one
            };
            return Ok(added?);
        }
        if !metadata.is_file() {
            return Ok(self.out.append_data(&mut header, name, io::empty())?);
        }
        if metadata.nlink() > 1 {
            let id = (metadata.dev(), metadata.ino());
            if let Some(first) = self.links.get(&id) {
                header.set_entry_type(EntryType::Link);
                return Ok(self.out.append_link(&mut header, name, first)?);
            }
            self.links.insert(id, name.to_owned());
        }
        let len = metadata.len();
        header.set_size(len);
        let mut data = File::open(path)?.take(len);
        self.out.append_data(&mut header, name, &mut data)?;
        // The entry's length is written before its data.
        if data.limit() > 0 || path.metadata()?.len() != len {
            bail!("changed while it was read");
        }
        Ok(())
    }
}
