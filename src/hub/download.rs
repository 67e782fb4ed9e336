//! One file from the hub into the cache: resumed where it broke off, checked before it has a name.

use super::Watch;
use super::cache::{Repo, create_folder_of, failed};
use super::client::{self, Client, Follow, Response, header};
use super::id::Reference;
use crate::error::{Error, ErrorKind, Result};
use ring::digest::{Context, SHA256};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// Times that a broken download is taken up again within one call.
const MAX_ATTEMPTS: usize = 5;

/// Bytes that are moved at once.
const BUFFER_LEN: usize = 1 << 16;

/// What the hub says of a file before it sends it.
struct Promise {
    /// What the hub calls the bytes: the SHA-256 of a large file, a git hash of a small one.
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
    /// [`ErrorKind::ModelMissing`] where the hub has none or denies it, [`ErrorKind::Corrupt`] where
    /// what it sent is not what it promised, [`ErrorKind::Io`].
    pub fn fetch(&self, name: &str, limit: u64) -> Result<()> {
        let commit = self.reference.revision();
        if self.repo.snapshot(commit).join(name).is_file() {
            return Ok(());
        }
        let promise = self.promise(name)?;
        if promise.len > limit {
            let message = format!("{name} has {} bytes, expected at most {limit}", promise.len);
            return Err(Error::new(ErrorKind::InvalidModel, message));
        }
        let blob = self.repo.blob(&promise.etag);
        let _lock = self.lock(&promise.etag)?;
        if !blob.is_file() {
            self.fetch_blob(name, &promise, &blob)?;
        }
        self.repo.link(commit, name, &promise.etag)
    }

    fn path(&self, name: &str) -> String {
        format!("/{}/resolve/{}/{name}", self.reference.id, self.reference.revision())
    }

    /// Asks for the file's ETag and length. Where its bytes are kept elsewhere, the hub itself tells
    /// them, not that place.
    fn promise(&self, name: &str) -> Result<Promise> {
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
            Some(len) if is_name && !etag.is_empty() => Ok(Promise { etag: etag.to_owned(), len }),
            _ => Err(client::failed(&path, "the hub tells no length or no usable ETag")),
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
    fn fetch_blob(&self, name: &str, promise: &Promise, blob: &Path) -> Result<()> {
        create_folder_of(blob)?;
        let part = blob.with_file_name(format!("{}.incomplete", promise.etag));
        let open = || File::options().create(true).append(true).read(true).open(&part);
        let mut file = open().map_err(|e| failed("writing", &part, e))?;
        let len =
            || fs::metadata(&part).map(|file| file.len()).map_err(|e| failed("reading", &part, e));
        if len()? > promise.len {
            file.set_len(0).map_err(|e| failed("writing", &part, e))?;
        }
        self.watch.begin(name, len()?, promise.len);
        let mut error = None;
        for _ in 0..MAX_ATTEMPTS {
            let before = len()?;
            if before >= promise.len {
                break;
            }
            error = self.fetch_rest(name, promise.len, before, &mut file).err();
            if len()? == before {
                break; // nothing came: no use to go on
            }
        }
        let got = len()?;
        if got < promise.len {
            let message = format!("{name} broke off: {got} of {} bytes are here", promise.len);
            let cause = error.map_or("the same call takes it up again".into(), |e| e.to_string());
            return Err(Error::io(message, io::Error::other(cause)));
        }
        let checked = check(name, promise, &mut file, got);
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

/// Whether the `got` bytes in `file` are those that were promised.
fn check(name: &str, promise: &Promise, file: &mut File, got: u64) -> Result<()> {
    let corrupt = |message| Err(Error::new(ErrorKind::Corrupt, message));
    if got != promise.len {
        return corrupt(format!("{name} has more than the promised {} bytes", promise.len));
    }
    let is_sha256 = promise.etag.len() == 64 && promise.etag.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_sha256 {
        return Ok(());
    }
    let found = sha256(file).map_err(|e| Error::io(format!("reading {name}"), e))?;
    if found != promise.etag.to_ascii_lowercase() {
        let expected = &promise.etag;
        return corrupt(format!(
            "{name} arrived damaged: its SHA-256 is {found}, expected {expected}"
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
