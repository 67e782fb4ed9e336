//! Directories unpacked from archives of tar streams.

use super::folder::{Folder, folder_of, is_supported};
use super::input::{Input, OpenInput, name_of};
use super::look_ahead::look_ahead;
use super::names::{SHORT_TAR, TAR, shown, without_suffix};
use super::output::Output;
use super::session::CliSession;
use super::size::grouped;
use super::staging::StagingIn;
use super::untar_file::{Place, Refused};
use super::voice::Voice;
use crate::archive::Options;
use crate::{Decoder, ErrorKind};
use anyhow::{Context, Result, anyhow, bail};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use tar::EntryType;

/// Permission bits of directories: sticky ones stay, in which others must not delete.
const MODE_BITS: u32 = 0o1777;

/// Syncs to disk the file system that `folder` is on; all of them where there is no call for one.
fn sync_file_system(folder: &File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(folder)?;
    #[cfg(not(target_os = "linux"))]
    {
        let _ = folder;
        rustix::fs::sync();
    }
    Ok(())
}

/// Unpacks the directory in the archive `input`, beside it or in the folder of `output`. Files get their names only
/// once all of the archive was good.
///
/// # Errors
/// I/O errors; those of the archive; an error where a name is taken.
pub fn unpack(
    session: &CliSession,
    input: &Input,
    options: &Options,
    output: &Output,
) -> Result<()> {
    let name = name_of(input);
    let opened = OpenInput::open(input, false, true)?;
    let path = output.moved(opened.path.clone().unwrap_or("-".into()))?;
    let path = folder_of(&path);
    let folder = Arc::new(Folder::open(path).with_context(|| shown(path))?);
    if let Some(likely) = opened.path.as_deref().and_then(|path| folder_name(path, output)) {
        refuse_taken(&folder, path, &likely)?;
    }
    let total = look_ahead(session, &opened)?;
    let progress = session.counter(&name, session.progress, total);
    let staging = StagingIn::new(&folder).context("cannot create a directory to unpack into")?;
    let decoder = Decoder::new(&opened.file, &session.models, options)?;
    let mut plain = Counting { inner: decoder, done: 0, progress: &|n| progress.add(n) };
    let mut refused = Refused::default();
    let directories = extract(&mut plain, &staging.folder, output.sparse, &mut refused)?;
    refuse_rest(&mut plain)?;
    opened.check_unchanged()?;
    let files = || is_supported(sync_file_system(&staging.folder.open_readable(".")?));
    let has_files = sync(output, files).context("cannot sync to disk")?;
    let moved = settle(&staging.folder, &folder, path)?;
    for (path, Attributes { mode, mtime }) in directories.iter().rev() {
        let set = |place: Place<'_>| place.set_folder_attributes(mode & MODE_BITS, *mtime);
        refused.note(path, Place::of(&folder, path).and_then(|place| place.map_or(Ok(()), set)));
    }
    refused.say();
    let has_names =
        sync(output, || folder.sync()).context("cannot sync the output folder to disk")?;
    if !(has_files && has_names) {
        say!("llmzip: warning: {name}: unpacked, but cannot be synced to disk here");
    }
    let elapsed_s = progress.finish();
    if session.voice > Voice::Quiet {
        let names: Vec<_> = moved.iter().map(|path| shown(path)).collect();
        let bytes = grouped(plain.done);
        say!("{name} -> {}: {bytes} bytes, {elapsed_s:.1} s", names.join(", "));
    }
    Ok(())
}

/// Returns the name that the directory in the archive at `path` probably has.
fn folder_name(path: &Path, output: &Output) -> Option<OsString> {
    let plain = without_suffix(path, &output.suffix).and_then(|tar| without_suffix(&tar, TAR));
    let plain = plain.or_else(|| without_suffix(path, SHORT_TAR))?;
    Some(plain.file_name()?.into())
}

/// Refuses `name` in `folder`, at `path`, where anything has it.
fn refuse_taken(folder: &Folder, path: &Path, name: &OsStr) -> Result<()> {
    if folder.has(name) {
        bail!("{} exists already; move it away, or unpack with -C DIR", shown(&path.join(name)));
    }
    Ok(())
}

/// Mode and time of a directory, which it gets once all that is in it has its place: they may forbid that.
struct Attributes {
    mode: u32,
    mtime: i64,
}

/// Extracts the entries of the tar stream `plain` into `folder`; returns its directories. Of several entries of one name
/// the last one wins.
fn extract(
    plain: &mut impl Read,
    folder: &Folder,
    sparse: bool,
    refused: &mut Refused,
) -> Result<BTreeMap<PathBuf, Attributes>> {
    let mut tar = tar::Archive::new(plain);
    let mut directories = BTreeMap::new();
    for (number, entry) in tar.entries()?.enumerate() {
        let mut entry = entry.map_err(|e| match inner_error(e) {
            error if error.is::<crate::Error>() => error,
            _ if number == 0 => {
                anyhow!("the content is not a tar archive: decompress it without --untar")
            }
            _ => anyhow!("the tar archive in it is damaged after {number} entries"),
        })?;
        if entry.header().entry_type() == EntryType::XGlobalHeader {
            continue; // of git archive, and labels: nothing to unpack
        }
        let path = entry.path()?.into_owned();
        if is_sparse_by_extension(&mut entry)? {
            bail!("{}: is sparse in a form that only tar unpacks: tar -I llmzip -xf", shown(&path));
        }
        let kind = match entry.header().entry_type() {
            EntryType::Regular | EntryType::GNUSparse if entry.path_bytes().ends_with(b"/") => {
                EntryType::Directory // an old one
            }
            kind => kind,
        };
        let (mode, mtime) = (entry.header().mode()?, entry.header().mtime()? as i64);
        let is_name = |part: &Component<'_>| matches!(part, Component::Normal(_));
        let names: PathBuf = path.components().filter(is_name).collect();
        if kind.is_dir() && names.as_os_str().is_empty() {
            continue; // the directory that is unpacked into
        }
        let cannot = || format!("cannot unpack {}", shown(&path));
        let outside = |path: &Path| {
            anyhow!("{}: would be outside the directory that is unpacked", shown(path))
        };
        let place = Place::of(folder, &path).with_context(cannot)?;
        let place = place.ok_or_else(|| outside(&path))?;
        let set = match kind {
            EntryType::Regular | EntryType::GNUSparse => place.write_file(&mut entry, sparse),
            EntryType::Directory => place.make_folder().map(Ok),
            EntryType::Symlink => {
                place.make_link(&entry.link_name_bytes().unwrap_or_default(), mtime)
            }
            EntryType::Link => {
                let first = entry.link_name()?.unwrap_or_default();
                let first_place = Place::of(folder, &first).with_context(cannot)?;
                place.link(&first_place.ok_or_else(|| outside(&first))?).map(Ok)
            }
            _ => bail!("{}: is a device or a pipe; tar -I llmzip -xf unpacks it", shown(&path)),
        };
        refused.note(&path, set.map_err(inner_error).with_context(cannot)?);
        if kind.is_dir() {
            directories.insert(names, Attributes { mode, mtime });
        }
    }
    Ok(directories)
}

/// Returns whether pax extensions of GNU tar say that the content of a file is not what stands in the archive.
fn is_sparse_by_extension(entry: &mut tar::Entry<'_, impl Read>) -> Result<bool> {
    let Some(extensions) = entry.pax_extensions()? else { return Ok(false) };
    let mut is_sparse = false;
    for extension in extensions {
        is_sparse |= extension?.key_bytes().starts_with(b"GNU.sparse.");
    }
    Ok(is_sparse)
}

/// Refuses what follows the end of a tar archive, up to the archive's last checksum; zeros pad it.
fn refuse_rest(plain: &mut impl Read) -> Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match plain.read(&mut buffer).map_err(|e| own_advice(inner_error(e)))? {
            0 => return Ok(()),
            n if buffer[..n].iter().all(|byte| *byte == 0) => (),
            _ => bail!(
                "there is more after the end of the tar archive: decompress it without --untar"
            ),
        }
    }
}

/// Calls `sync` where `output` is to be synced; returns false where the file system cannot do that.
fn sync(output: &Output, sync: impl FnOnce() -> io::Result<bool>) -> io::Result<bool> {
    if output.syncs { sync() } else { Ok(true) }
}

/// Moves all that was unpacked in `staging`, or nothing, to `folder`, at `path`; returns the new paths.
fn settle(staging: &Folder, folder: &Folder, path: &Path) -> Result<Vec<PathBuf>> {
    let names = staging.names()?;
    if names.is_empty() {
        bail!("the tar archive in it is empty");
    }
    names.iter().try_for_each(|name| refuse_taken(folder, path, name))?;
    for (n_named, name) in names.iter().enumerate() {
        let named = folder.rename_new(staging, name, name, staging.has_folder(name));
        if let Err(error) = named {
            for name in &names[..n_named] {
                let _ = staging.rename_new(folder, name, name, folder.has_folder(name));
            }
            return Err(error).with_context(|| format!("cannot name {}", shown(&path.join(name))));
        }
    }
    Ok(names.into_iter().map(|name| path.join(name)).collect())
}

/// Returns the archive's own error where `error`, of reading its content, has one inside.
fn inner_error(error: io::Error) -> anyhow::Error {
    let error = anyhow::Error::from(error);
    let ours = error.chain().find_map(|cause| {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause.downcast_ref::<crate::Error>().or(inner.and_then(|e| e.downcast_ref()))
    });
    ours.map(|ours| ours.duplicate().into()).unwrap_or(error)
}

/// Replaces the advice to use -f on trailing data, which unpacking does not heed.
fn own_advice(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref().map(crate::Error::kind) {
        Some(ErrorKind::TrailingData) => anyhow!("{error}: decompress it with -f, without --untar"),
        _ => error,
    }
}

/// A reader that counts.
struct Counting<'a, R> {
    inner: R,
    done: u64,
    progress: &'a dyn Fn(u64),
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.done += n as u64;
        (self.progress)(n as u64);
        Ok(n)
    }
}
