//! Directories unpacked from archives of tar streams.

use super::input::{Input, OpenInput, name_of};
use super::look_ahead::look_ahead;
use super::names::{SHORT_TAR, TAR, shown, without_suffix};
use super::output::{Output, is_supported, open_folder, rename_new, sync_folder};
use super::session::CliSession;
use super::size::grouped;
use super::staging::Staging;
use super::untar_file::{Refused, make_directory, write_file};
use super::voice::Voice;
use crate::archive::Options;
use crate::{Decoder, ErrorKind};
use anyhow::{Context, Result, anyhow, bail};
use filetime::FileTime;
use rustix::fs::{CWD, syncfs};
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// Permission bits of directories: sticky ones stay, in which others must not delete.
const MODE_BITS: u32 = 0o1777;

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
    let folder = match &opened.path {
        Some(path) => output.moved(path.clone())?,
        None => output.moved("-".into())?,
    };
    let folder = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => ".".into(),
    };
    if let Some(likely) = opened.path.as_deref().and_then(|path| folder_name(path, output)) {
        refuse_taken(&folder.join(likely))?;
    }
    let total = look_ahead(session, &opened)?;
    let progress = session.counter(&name, session.progress, total);
    let staging = Staging::new(&folder).context("cannot create a directory to unpack into")?;
    let decoder = Decoder::new(&opened.file, &session.models, options)?;
    let mut plain = Counting { inner: decoder, done: 0, progress: &|n| progress.add(n) };
    let mut refused = Refused::default();
    let directories = extract(&mut plain, staging.path(), output.sparse, &mut refused)?;
    refuse_rest(&mut plain)?;
    opened.check_unchanged()?;
    let files = || syncfs(File::open(staging.path())?).map_err(io::Error::from);
    let has_files = sync(output, files).context("cannot sync to disk")?;
    let moved = settle(&staging, &folder)?;
    for Directory { path, mode, mtime } in directories.iter().rev() {
        let place = folder.join(path);
        let has_time = filetime::set_file_mtime(&place, FileTime::from_unix_time(*mtime, 0));
        let has_mode = fs::set_permissions(&place, Permissions::from_mode(mode & MODE_BITS));
        refused.note(path, has_mode.and(has_time));
    }
    refused.say();
    let names = || open_folder(&folder).and_then(|folder| sync_folder(&folder));
    let has_names = sync(output, names).context("cannot sync the output folder to disk")?;
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
fn folder_name(path: &Path, output: &Output) -> Option<PathBuf> {
    let plain = without_suffix(path, &output.suffix).and_then(|tar| without_suffix(&tar, TAR));
    let plain = plain.or_else(|| without_suffix(path, SHORT_TAR))?;
    Some(plain.file_name()?.into())
}

fn refuse_taken(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(_) => bail!("{} exists already; move it away, or unpack with -C DIR", shown(path)),
        Err(_) => Ok(()),
    }
}

/// Mode and time of a directory, which it gets once all that is in it has its place: they may forbid that.
struct Directory {
    path: PathBuf,
    mode: u32,
    mtime: i64,
}

/// Extracts the entries of the tar stream `plain` into `folder`; returns its directories.
fn extract(
    plain: &mut impl Read,
    folder: &Path,
    sparse: bool,
    refused: &mut Refused,
) -> Result<Vec<Directory>> {
    let mut tar = tar::Archive::new(plain);
    tar.set_overwrite(false);
    tar.set_preserve_mtime(false); // of links, where an error would be the entry's
    let mut directories = Vec::new();
    for (number, entry) in tar.entries()?.enumerate() {
        let mut entry = entry.map_err(|e| match inner_error(e) {
            error if error.is::<crate::Error>() => error,
            _ if number == 0 => {
                anyhow!("the content is not a tar archive: decompress it without --untar")
            }
            _ => anyhow!("the tar archive in it is damaged after {number} entries"),
        })?;
        let path = entry.path()?.into_owned();
        let (kind, cannot) =
            (entry.header().entry_type(), || format!("cannot unpack {}", shown(&path)));
        if !(kind.is_file()
            || kind.is_dir()
            || kind.is_symlink()
            || kind.is_hard_link()
            || kind.is_gnu_sparse())
        {
            bail!("{}: is a device or a pipe; tar -I llmzip -xf unpacks it", shown(&path));
        }
        let is_content =
            (kind.is_file() || kind.is_gnu_sparse()) && !entry.path_bytes().ends_with(b"/"); // an old directory
        let is_below = path.components().any(|part| matches!(part, Component::Normal(_)));
        let is_inside = match kind {
            _ if is_content => write_file(&mut entry, folder, &path, sparse, refused),
            _ if kind.is_dir() && is_below => make_directory(folder, &path),
            _ => entry.unpack_in(folder),
        };
        if !is_inside.map_err(inner_error).with_context(cannot)? {
            bail!("{}: would be outside the directory that is unpacked", shown(&path));
        }
        let mtime = entry.header().mtime()? as i64;
        if kind.is_dir() && is_below {
            directories.push(Directory { path, mode: entry.header().mode()?, mtime });
        } else if kind.is_symlink() {
            let time = FileTime::from_unix_time(mtime, 0);
            refused.note(&path, filetime::set_symlink_file_times(folder.join(&path), time, time));
        }
    }
    Ok(directories)
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
fn sync(output: &Output, sync: impl FnOnce() -> io::Result<()>) -> io::Result<bool> {
    if output.syncs { is_supported(sync()) } else { Ok(true) }
}

/// Moves what was unpacked in `staging` to `folder`; returns the new paths.
fn settle(staging: &Staging, folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(staging.path())?.collect::<io::Result<Vec<_>>>()?;
    let mut moves: Vec<_> =
        entries.iter().map(|e| (e.path(), folder.join(e.file_name()))).collect();
    if moves.is_empty() {
        bail!("the tar archive in it is empty");
    }
    moves.sort();
    moves.iter().try_for_each(|(_, to)| refuse_taken(to))?;
    for (from, to) in &moves {
        let is_folder = from.symlink_metadata()?.is_dir();
        let named = rename_new(CWD, from, to, is_folder);
        named.with_context(|| format!("cannot name {}", shown(to)))?;
    }
    Ok(moves.into_iter().map(|(_, to)| to).collect())
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
