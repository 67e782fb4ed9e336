//! Standard input and output, as the caller gave them.
//!
//! Before `main` the Rust runtime opens `/dev/null` in place of what is closed, which would make an
//! empty archive of no input and swallow results. [`look`] comes before it. What another program made
//! non-blocking, as a pipe is that it shares, is waited for.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, fcntl_getfd};
use std::fs::File;
use std::io::{self, IsTerminal, LineWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

static STDIN_IS_CLOSED: AtomicBool = AtomicBool::new(false);
static STDOUT_IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Notes which streams are closed; to be called before the runtime starts.
pub fn look() {
    let is_closed = |fd| fcntl_getfd(fd) == Err(Errno::BADF);
    STDIN_IS_CLOSED.store(is_closed(rustix::stdio::stdin()), Ordering::Relaxed);
    STDOUT_IS_CLOSED.store(is_closed(rustix::stdio::stdout()), Ordering::Relaxed);
}

/// Opens standard input without a buffer.
///
/// # Errors
/// I/O errors; an error where it is closed.
pub fn stdin() -> io::Result<Stream> {
    open(io::stdin(), &STDIN_IS_CLOSED, "standard input is closed")
}

/// Opens standard output without a buffer.
///
/// # Errors
/// I/O errors; an error where it is closed.
pub fn stdout() -> io::Result<Stream> {
    open(io::stdout(), &STDOUT_IS_CLOSED, "standard output is closed")
}

/// Prints help, the version or a usage error; returns the exit code.
///
/// # Errors
/// I/O errors of standard output.
pub fn print_message(message: &clap::Error) -> anyhow::Result<u8> {
    let is_output = !message.use_stderr();
    if is_output {
        stdout()?;
    }
    if is_output && !io::stdout().is_terminal() {
        write!(lines()?, "{}", message.render())?;
        return Ok(message.exit_code() as u8);
    }
    match message.print() {
        Err(error) if is_output => Err(error.into()),
        _ => Ok(message.exit_code() as u8),
    }
}

/// Opens standard output for text, each line of which is written at once.
///
/// # Errors
/// Those of [`stdout`].
pub fn lines() -> io::Result<LineWriter<Stream>> {
    stdout().map(LineWriter::new)
}

fn open(stream: impl AsFd, is_closed: &AtomicBool, message: &str) -> io::Result<Stream> {
    if is_closed.load(Ordering::Relaxed) {
        return Err(io::Error::other(message));
    }
    Ok(Stream::new(File::from(stream.as_fd().try_clone_to_owned()?)))
}

/// A file that is waited for where it is not ready.
pub struct Stream(File);

impl Stream {
    pub fn new(file: File) -> Self {
        Self(file)
    }

    pub fn file(&self) -> &File {
        &self.0
    }

    /// Repeats `transfer` until it need not wait.
    fn when_ready<T>(
        &self,
        flags: PollFlags,
        mut transfer: impl FnMut(&File) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match transfer(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match poll(&mut [PollFd::new(&self.0, flags)], None) {
                        Ok(_) | Err(Errno::INTR) => (),
                        Err(error) => return Err(error.into()),
                    }
                }
                done => return done,
            }
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.when_ready(PollFlags::IN, |mut file| file.read(buffer))
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.when_ready(PollFlags::OUT, |mut file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &Stream {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&self.0).seek(to)
    }
}
