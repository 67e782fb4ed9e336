//! The hub's cache, in the layout that transformers and other programs share:
//!
//! ```text
//! models--org--name/blobs/ETAG                 the bytes; ETAG.incomplete while they arrive
//! models--org--name/snapshots/COMMIT/FILE      symbolic link to a blob
//! models--org--name/refs/BRANCH                the commit that a branch stood at
//! .locks/models--org--name/ETAG.lock           held by who downloads that blob
//! ```

use super::id::{ModelId, is_commit};
use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
#[cfg(unix)]
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Longest reference that is read, in bytes.
const MAX_REF_LEN: u64 = 64;

/// The cache.
#[derive(Debug, Clone)]
pub struct Cache(PathBuf);

impl Cache {
    /// The cache in the folder `root`, which need not exist.
    pub fn new(root: &Path) -> Self {
        Self(root.to_owned())
    }

    /// The place of the model `id`.
    pub fn repo(&self, id: &ModelId) -> Repo {
        let (folder, locks) = (self.0.join(id.folder()), self.0.join(".locks").join(id.folder()));
        Repo { id: id.clone(), folder, locks }
    }

    /// All models in it, in order of name. A folder that cannot be read holds none.
    pub fn repos(&self) -> Vec<Repo> {
        let ids = names(&self.0);
        let mut ids: Vec<_> = ids.iter().filter_map(|name| ModelId::of_folder(name)).collect();
        ids.sort();
        ids.iter().map(|id| self.repo(id)).collect()
    }
}

/// One model in the cache, in all the states that were fetched.
#[derive(Debug, Clone)]
pub struct Repo {
    /// The model.
    pub id: ModelId,
    folder: PathBuf,
    locks: PathBuf,
}

impl Repo {
    /// The commit that `revision` names here.
    pub fn commit_of(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let path = self.folder.join("refs").join(revision);
        let is_short = path.metadata().is_ok_and(|file| file.len() <= MAX_REF_LEN);
        let commit = if is_short { fs::read_to_string(path).ok()? } else { return None };
        Some(commit.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// The folder with the files of `commit`.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// The commits whose files are here, all or some.
    pub fn commits(&self) -> Vec<String> {
        let mut commits = names(&self.folder.join("snapshots"));
        commits.retain(|name| is_commit(name));
        commits.sort();
        commits
    }

    /// Where the bytes with `etag` belong.
    pub fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// The lock for `etag`.
    pub fn lock(&self, etag: &str) -> PathBuf {
        self.locks.join(format!("{etag}.lock"))
    }

    /// Puts the blob `etag` under `name` in the files of `commit`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn link(&self, commit: &str, name: &str, etag: &str) -> Result<()> {
        let path = self.snapshot(commit).join(name);
        let target = Path::new("../../blobs").join(etag);
        create_folder_of(&path)?;
        match symlink(target, &path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // Without links (FAT), the file itself stands there, as the hub's own client does it.
            Err(e) => fs::rename(self.blob(etag), &path).map_err(|_| failed("linking", &path, e)),
            Ok(()) => Ok(()),
        }
    }

    /// Notes that `revision` stands at `commit`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn set_ref(&self, revision: &str, commit: &str) -> Result<()> {
        if self.commit_of(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        write_whole(&self.folder.join("refs").join(revision), commit.as_bytes())
    }

    /// The files that would go with `commit`: its links, and the blobs that no other commit has.
    pub fn files_of(&self, commit: &str) -> Vec<PathBuf> {
        let links = files_in(&self.snapshot(commit));
        let others = self.commits().into_iter().filter(|other| other != commit);
        let others = others.flat_map(|other| files_in(&self.snapshot(&other)));
        let others: BTreeSet<_> = others.filter_map(|link| self.blob_of(&link)).collect();
        let blobs: BTreeSet<_> = links.iter().filter_map(|link| self.blob_of(link)).collect();
        blobs.difference(&others).cloned().chain(links.iter().cloned()).collect()
    }

    /// Removes `commit` with [`Repo::files_of`] it, and the whole folder where it was the last.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn remove(&self, commit: &str) -> Result<()> {
        let files = self.files_of(commit);
        let refs = files_in(&self.folder.join("refs"));
        let names_it = |path: &PathBuf| fs::read_to_string(path).is_ok_and(|c| c.trim() == commit);
        for path in files.into_iter().chain(refs.into_iter().filter(names_it)) {
            fs::remove_file(&path).map_err(|e| failed("removing", &path, e))?;
        }
        let snapshot = self.snapshot(commit);
        fs::remove_dir_all(&snapshot).map_err(|e| failed("removing", &snapshot, e))?;
        if names(&self.folder.join("snapshots")).is_empty() {
            let failed = |e| failed("removing", &self.folder, e);
            fs::remove_dir_all(&self.folder).map_err(failed)?;
            drop(fs::remove_dir_all(&self.locks)); // others may hold one; they hurt nobody
        }
        Ok(())
    }

    /// The blob that `link` leads to; `None` where it leads anywhere else.
    fn blob_of(&self, link: &Path) -> Option<PathBuf> {
        let target = link.canonicalize().ok()?;
        let blobs = self.folder.join("blobs").canonicalize().ok()?;
        (link.is_symlink() && target.parent() == Some(&blobs)).then_some(target)
    }
}

/// Fails: the system has no symbolic links, or none that all may make.
#[cfg(not(unix))]
fn symlink(_: PathBuf, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Writes `bytes` so that `path` never names a part of them.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io).
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = |folder: &Path| {
        fs::create_dir_all(folder)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".llmzip-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666)); // less the umask
        }
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.persist(path).map_err(|e| e.error).map(drop)
    };
    write(path.parent().unwrap_or(Path::new("."))).map_err(|e| failed("writing", path, e))
}

/// Makes the folder that `path` is to stand in.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io).
pub fn create_folder_of(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|e| failed("creating", folder, e))
}

/// Waits until no other program holds the lock `path`, then holds it while the file is open; on a
/// file system without locks it is open only.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io).
pub fn lock(path: &Path) -> Result<File> {
    create_folder_of(path)?;
    let file = File::options().create(true).append(true).open(path);
    let file = file.map_err(|e| failed("locking", path, e))?;
    drop(file.lock());
    Ok(file)
}

/// An error of doing something with `path`.
pub fn failed(doing: &str, path: &Path, error: io::Error) -> Error {
    Error::io(format!("{doing} {}", path.display()), error)
}

/// The names in `folder`; none where it cannot be read.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| OsString::into_string(entry.file_name()).ok()).collect()
}

/// All files below `folder`, links not followed.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.flat_map(|entry| match entry.file_type() {
        Ok(file_type) if file_type.is_dir() => files_in(&entry.path()),
        _ => vec![entry.path()],
    });
    files.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "0000000000000000000000000000000000000000";
    const NEW: &str = "1111111111111111111111111111111111111111";

    /// Two states that share a file, in a cache of their own.
    fn cache(root: &Path) -> Repo {
        let repo = Cache::new(root).repo(&ModelId::parse("org/name").unwrap());
        let files = [(OLD, "a", "both"), (OLD, "b", "old"), (NEW, "a", "both"), (NEW, "b", "new")];
        for (commit, name, etag) in files {
            create_folder_of(&repo.blob(etag)).unwrap();
            fs::write(repo.blob(etag), etag).unwrap();
            repo.link(commit, name, etag).unwrap();
        }
        repo.set_ref("main", NEW).unwrap();
        repo.set_ref("v1", OLD).unwrap();
        repo
    }

    #[test]
    fn files_are_found_by_commit_and_branch() {
        let root = tempfile::tempdir().unwrap();
        let repo = cache(root.path());
        assert_eq!(repo.commit_of("main").as_deref(), Some(NEW));
        assert_eq!(repo.commit_of(OLD).as_deref(), Some(OLD));
        assert_eq!(repo.commit_of("other"), None);
        assert_eq!(repo.commits(), [OLD, NEW]);
        assert_eq!(fs::read_to_string(repo.snapshot(NEW).join("b")).unwrap(), "new");
        let found: Vec<_> = Cache::new(root.path()).repos().into_iter().map(|r| r.id).collect();
        assert_eq!(found, [repo.id]);
    }

    #[test]
    fn a_reference_that_names_no_commit_is_none() {
        let root = tempfile::tempdir().unwrap();
        let repo = cache(root.path());
        for text in ["../../x", "", "main", &"0".repeat(1 << 20)] {
            fs::write(repo.folder.join("refs/bad"), text).unwrap();
            assert_eq!(repo.commit_of("bad"), None);
        }
    }

    #[test]
    fn removing_a_state_keeps_what_others_need() {
        let root = tempfile::tempdir().unwrap();
        let repo = cache(root.path());
        fs::write(root.path().join("outside"), "kept").unwrap();
        let outside = repo.snapshot(OLD).join("link");
        std::os::unix::fs::symlink(root.path().join("outside"), outside).unwrap();
        repo.remove(OLD).unwrap();
        assert_eq!(repo.commits(), [NEW]);
        let mut blobs = names(&repo.folder.join("blobs"));
        blobs.sort();
        assert_eq!(blobs, ["both", "new"]);
        assert_eq!(names(&repo.folder.join("refs")), ["main"]);
        repo.remove(NEW).unwrap();
        assert!(!repo.folder.exists());
        assert_eq!(fs::read_to_string(root.path().join("outside")).unwrap(), "kept");
    }
}
