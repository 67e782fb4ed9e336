//! Download of one file into the cache: resumed where it was interrupted, checked before it has a
//! name.

use super::Watch;
use super::cache::{Repo, create_folder_of, failed};
use super::client::{self, Client, Follow, Response, header};
use super::id::Reference;
use crate::error::{Error, ErrorKind, Result};
use ring::digest::{Context, SHA256};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// Attempts to resume an interrupted download within one call.
const MAX_ATTEMPTS: usize = 5;

/// Length of the copy buffer.
const BUFFER_LEN: usize = 1 << 16;

/// Metadata of a file on the hub, from the answer to a HEAD request.
struct RemoteFile {
    /// The ETag: the SHA-256 of a large file, a git hash of a small one.
    etag: String,
    len: u64,
}

/// Fetches files of one state of one model.
pub struct Downloader<'a> {
    pub client: &'a Client,
    pub repo: &'a Repo,
    /// With its whole commit.
    pub reference: Reference,
    pub watch: &'a dyn Watch,
}

impl Downloader<'_> {
    /// Fetches the file `name`, unless it is here; refuses one of more than `limit` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMissing`] where the hub has none or denies it, [`ErrorKind::Corrupt`]
    /// where length or SHA-256 are not those announced, [`ErrorKind::Io`].
    pub fn fetch(&self, name: &str, limit: u64) -> Result<()> {
        let commit = self.reference.revision();
        if self.repo.snapshot(commit).join(name).is_file() {
            return Ok(());
        }
        let remote = self.remote_file(name)?;
        if remote.len > limit {
            let message = format!("{name} has {} bytes, expected at most {limit}", remote.len);
            return Err(Error::new(ErrorKind::InvalidModel, message));
        }
        let blob = self.repo.blob(&remote.etag);
        let _lock = self.lock(&remote.etag)?;
        if !blob.is_file() {
            self.fetch_blob(name, &remote, &blob)?;
        }
        self.repo.link(commit, name, &remote.etag)
    }

    fn path(&self, name: &str) -> String {
        format!("/{}/resolve/{}/{name}", self.reference.id, self.reference.revision())
    }

    /// Asks for the file's ETag and length. Where its bytes are kept elsewhere, the hub itself
    /// tells them, not that place.
    fn remote_file(&self, name: &str) -> Result<RemoteFile> {
        let path = self.path(name);
        let response = self.client.get(&path, Follow::Endpoint, None)?;
        self.client.check(response.status(), &self.reference, name)?;
        if header(&response, "X-Repo-Commit").is_some_and(|c| c != self.reference.revision()) {
            return Err(client::failed(&path, "the hub answers for another commit"));
        }
        let etag = header(&response, "X-Linked-Etag").or(header(&response, "ETag"));
        let etag = etag.unwrap_or_default().trim_start_matches("W/").trim_matches('"');
        let len = header(&response, "X-Linked-Size").or_else(|| {
            // A redirect's own length is that of nothing.
            header(&response, "Content-Length").filter(|_| response.status().is_success())
        });
        let is_name =
            etag.len() <= 128 && etag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        match len.and_then(|len| len.parse().ok()) {
            Some(len) if is_name && !etag.is_empty() => {
                Ok(RemoteFile { etag: etag.to_owned(), len })
            }
            _ => Err(client::failed(&path, "the hub announces no length or no usable ETag")),
        }
    }

    /// Waits until no other program downloads the blob `etag`.
    fn lock(&self, etag: &str) -> Result<File> {
        let path = self.repo.lock(etag);
        create_folder_of(&path)?;
        let lock = || {
            let file = File::create(&path)?;
            file.lock().map(|()| file)
        };
        lock().map_err(|e| failed("locking", &path, e))
    }

    /// Brings the bytes to `blob`, through a file that stays where the connection breaks off.
    fn fetch_blob(&self, name: &str, remote: &RemoteFile, blob: &Path) -> Result<()> {
        create_folder_of(blob)?;
        let part = blob.with_file_name(format!("{}.incomplete", remote.etag));
        let open = || File::options().create(true).append(true).read(true).open(&part);
        let mut file = open().map_err(|e| failed("writing", &part, e))?;
        let len =
            || fs::metadata(&part).map(|file| file.len()).map_err(|e| failed("reading", &part, e));
        if len()? > remote.len {
            file.set_len(0).map_err(|e| failed("writing", &part, e))?;
        }
        self.watch.begin(name, len()?, remote.len);
        let mut error = None;
        for _ in 0..MAX_ATTEMPTS {
            let before = len()?;
            if before >= remote.len {
                break;
            }
            error = self.fetch_rest(name, remote.len, before, &mut file).err();
            if len()? == before {
                break; // nothing came: no use to go on
            }
        }
        let got = len()?;
        if got < remote.len {
            let message =
                format!("download of {name} interrupted: {got} of {} bytes received", remote.len);
            let cause = error.map_or("the same call resumes it".into(), |e| e.to_string());
            return Err(Error::io(message, io::Error::other(cause)));
        }
        let checked = check(name, remote, &mut file, got);
        if checked.is_err() {
            drop(fs::remove_file(&part)); // the error tells more
        }
        checked?;
        file.sync_all().map_err(|e| failed("writing", &part, e))?;
        fs::rename(&part, blob).map_err(|e| failed("naming", blob, e))
    }

    /// Appends the bytes from `from` on to `file`, one more than `len` at most.
    fn fetch_rest(&self, name: &str, len: u64, from: u64, file: &mut File) -> Result<()> {
        let path = self.path(name);
        let range = Some(from).filter(|from| *from > 0);
        let mut response = self.client.get(&path, Follow::All, range)?;
        self.client.check(response.status(), &self.reference, name)?;
        let skip = first_byte(&response, from).ok_or_else(|| {
            client::failed(&path, format!("the answer does not begin at byte {from}"))
        })?;
        let mut body = response.body_mut().as_reader();
        let read_failed = |e: io::Error| client::failed(&path, e);
        let skipped =
            io::copy(&mut (&mut body).take(skip), &mut io::sink()).map_err(read_failed)?;
        let mut left = if skipped == skip { len - from + 1 } else { 0 };
        let mut buffer = vec![0; BUFFER_LEN];
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let n = body.read(&mut buffer[..most]).map_err(read_failed)?;
            if n == 0 {
                break;
            }
            file.write_all(&buffer[..n]).map_err(|e| Error::io(format!("writing {name}"), e))?;
            self.watch.add(n as u64);
            left -= n as u64;
        }
        Ok(())
    }
}

/// Bytes of `response` to pass over, where it was asked to begin at byte `from`: none, or all of
/// them where the server sends the whole file.
fn first_byte(response: &Response, from: u64) -> Option<u64> {
    match response.status().as_u16() {
        200 => Some(from),
        206 => {
            let range = header(response, "Content-Range")?.strip_prefix("bytes ")?;
            let first: u64 = range.split('-').next()?.parse().ok()?;
            (first == from).then_some(0)
        }
        _ => None,
    }
}

/// Checks the `got` bytes in `file` against the announced length and SHA-256.
fn check(name: &str, remote: &RemoteFile, file: &mut File, got: u64) -> Result<()> {
    let corrupt = |message| Err(Error::new(ErrorKind::Corrupt, message));
    if got != remote.len {
        return corrupt(format!("{name} has more than the announced {} bytes", remote.len));
    }
    let is_sha256 = remote.etag.len() == 64 && remote.etag.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_sha256 {
        return Ok(());
    }
    let found = sha256(file).map_err(|e| Error::io(format!("reading {name}"), e))?;
    if found != remote.etag.to_ascii_lowercase() {
        let expected = &remote.etag;
        return corrupt(format!(
            "{name} was corrupted on the way: its SHA-256 is {found}, expected {expected}"
        ));
    }
    Ok(())
}

/// SHA-256 of all of `file`, in hexadecimal.
fn sha256(file: &mut File) -> io::Result<String> {
    file.rewind()?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => context.update(&buffer[..n]),
        }
    }
    Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}
