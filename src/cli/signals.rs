//! Signals that end a process: remove the unfinished file, then stop. SIGXFSZ: let the write fail.

use super::folder::Folder;
use crate::train::remove_drafts;
use signal_hook::consts::{
    SIGABRT, SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPIPE, SIGPROF, SIGQUIT, SIGSYS, SIGTERM, SIGTRAP,
    SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
};
use signal_hook::iterator::Signals;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Those that end a process unless it says otherwise, and that others send to it or that limits do.
const ENDING: [i32; 14] = [
    SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGABRT, SIGXCPU, SIGALRM, SIGVTALRM, SIGPROF, SIGUSR1,
    SIGUSR2, SIGIO, SIGSYS, SIGTRAP,
];

/// An unfinished file or folder.
pub enum Unfinished {
    /// A folder with all that is in it.
    Folder(PathBuf),
    /// A file of this name in a folder, wherever that is by now.
    File(Arc<Folder>, String),
    /// A folder of this name in a folder, with all that is in it.
    FolderIn(Arc<Folder>, String),
    /// The drafts in the folder of a training run; what is complete stays, for `--resume`.
    Drafts(PathBuf),
}

impl From<PathBuf> for Unfinished {
    fn from(folder: PathBuf) -> Self {
        Self::Folder(folder)
    }
}

impl Unfinished {
    /// Removes it. Nothing better can be done where this fails.
    pub fn remove(&self) {
        match self {
            Self::Folder(path) => drop(fs::remove_dir_all(path)),
            Self::File(folder, name) => drop(folder.remove(name.as_ref())),
            Self::FolderIn(folder, name) => drop(folder.remove_all(name.as_ref())),
            Self::Drafts(folder) => remove_drafts(folder),
        }
    }
}

/// The one unfinished file or folder. Whoever creates, renames or removes it holds the lock
/// meanwhile, so that a signal finds it either unfinished and named here, or finished.
static UNFINISHED: Mutex<Option<Unfinished>> = Mutex::new(None);

/// Locks the unfinished file or folder.
pub fn unfinished() -> MutexGuard<'static, Option<Unfinished>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts handling signals, except those that the parent set to be ignored (nohup).
///
/// # Errors
/// I/O errors; an error where no thread can be started.
pub fn watch() -> std::io::Result<()> {
    // A write past the limit on the size of files is an error then, not the end.
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    let ignored = ignored_signals();
    let wanted = ENDING.into_iter();
    let mut signals = Signals::new(wanted.filter(|signal| ignored >> (signal - 1) & 1 == 0))?;
    std::thread::Builder::new().spawn(move || {
        if let Some(signal) = signals.forever().next() {
            stop(signal);
        }
    })?;
    Ok(())
}

/// Removes the unfinished file or folder and dies of the signal, so that a shell's loop ends, too.
/// Never releases the lock.
fn stop(signal: i32) -> ! {
    let unfinished = unfinished();
    if let Some(unfinished) = unfinished.as_ref() {
        unfinished.remove();
    }
    die_of(signal)
}

/// Dies of SIGPIPE, which the runtime has the process ignore: to whoever waits for it (tar, a shell's
/// `pipefail`) that is a reader that has enough, and no failure.
pub fn die_of_broken_pipe() -> ! {
    die_of(SIGPIPE)
}

fn die_of(signal: i32) -> ! {
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    signal_hook::low_level::exit(128 + signal)
}

/// Returns the signals that this process has ignored since its start: bit N-1 for signal N; 0 where
/// unknown.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
