//! Download of one file into the cache: resumed where it was interrupted, checked before it has a
//! name.

use super::Watch;
use super::cache::{Repo, create_folder_of, failed, lock};
use super::client::{self, Client, Follow, Response, header};
use super::id::Reference;
use crate::error::{Error, ErrorKind, Result};
use ring::digest::{Context, SHA256};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::ops::RangeInclusive;
use std::path::Path;

/// Bytes after which interruptions are counted anew.
const PROGRESS: u64 = 1 << 20;

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
    pub client: &'a Client<'a>,
    pub repo: &'a Repo,
    /// With its whole commit.
    pub reference: Reference,
    pub watch: &'a dyn Watch,
}

impl Downloader<'_> {
    /// Fetches the file `name`, unless it is here; refuses one whose length is not in `lens`.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMissing`] where the hub has none or denies it, [`ErrorKind::Corrupt`]
    /// where length or SHA-256 are not those announced, [`ErrorKind::Io`].
    pub fn fetch(&self, name: &str, lens: RangeInclusive<u64>) -> Result<()> {
        let commit = self.reference.revision();
        if self.repo.snapshot(commit).join(name).is_file() {
            return Ok(());
        }
        let remote = self.remote_file(name)?;
        if !lens.contains(&remote.len) {
            let (least, most) = lens.into_inner();
            let message = format!("{name} has {} bytes, expected {least} to {most}", remote.len);
            return Err(Error::new(ErrorKind::InvalidModel, message));
        }
        let blob = self.repo.blob(&remote.etag);
        let _lock = lock(&self.repo.lock(&remote.etag))?; // one program downloads it
        match blob.metadata() {
            Ok(file) if file.len() != remote.len => {
                let (blob, len) = (blob.display(), file.len());
                let message = format!(
                    "{blob} has {len} bytes, but the hub gives {name} of {} bytes that ETag; \
                     remove the model (llmzip models rm) and fetch it again",
                    remote.len
                );
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
            Ok(_) => (),
            Err(_) => self.fetch_blob(name, &remote, &blob)?,
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
        self.client.check(&response, &self.reference, name)?;
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
        let mut retries = self.client.retries();
        let mut got = len()?;
        while got < remote.len {
            let interruption = self.fetch_rest(name, remote.len, got, &mut file)?;
            let before = std::mem::replace(&mut got, len()?);
            if got >= before + PROGRESS {
                retries = self.client.retries();
            }
            let message =
                format!("download of {name} interrupted: {got} of {} bytes received", remote.len);
            if got < remote.len && !retries.wait(&message, None) {
                let cause = interruption.unwrap_or("the same call resumes it".to_owned());
                return Err(Error::io(message, io::Error::other(cause)));
            }
        }
        let checked = check(name, remote, &mut file, got);
        if checked.is_err() {
            drop(fs::remove_file(&part)); // the error tells more
        }
        checked?;
        file.sync_all().map_err(|e| failed("writing", &part, e))?;
        fs::rename(&part, blob).map_err(|e| failed("naming", blob, e))
    }

    /// Appends the bytes from `from` on to `file`, one more than `len` at most; returns what
    /// interrupted them, if anything did.
    fn fetch_rest(
        &self,
        name: &str,
        len: u64,
        from: u64,
        file: &mut File,
    ) -> Result<Option<String>> {
        let path = self.path(name);
        let range = Some(from).filter(|from| *from > 0);
        let mut response = match self.client.get(&path, Follow::All, range) {
            Ok(response) => response,
            Err(e) => return Ok(Some(e.to_string())),
        };
        self.client.check(&response, &self.reference, name)?;
        let skip = first_byte(&response, from).ok_or_else(|| {
            client::failed(&path, format!("the answer does not begin at byte {from}"))
        })?;
        let mut body = self.client.body(&mut response);
        let mut buffer = vec![0; BUFFER_LEN];
        let (mut skip, mut left) = (skip, len - from + 1);
        while left > 0 {
            let most = (buffer.len() as u64).min(if skip > 0 { skip } else { left });
            let n = match body.read(&mut buffer[..most as usize]) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) => return Ok(Some(client::failed(&path, e).to_string())),
            };
            if skip > 0 {
                skip -= n as u64;
                continue;
            }
            file.write_all(&buffer[..n]).map_err(|e| Error::io(format!("writing {name}"), e))?;
            self.watch.add(n as u64);
            left -= n as u64;
        }
        Ok(None)
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
