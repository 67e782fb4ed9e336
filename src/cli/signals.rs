//! SIGINT, SIGTERM and SIGHUP: remove the unfinished file, then stop. SIGXFSZ: let the write fail.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Path of the one unfinished file or folder. Whoever creates, renames or removes it holds the lock
/// meanwhile, so that a signal finds it either unfinished and named here, or finished.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Locks the path of the unfinished file or folder.
pub fn unfinished() -> MutexGuard<'static, Option<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts handling signals, except those that the parent set to be ignored (nohup).
///
/// # Errors
/// I/O errors.
pub fn watch() -> std::io::Result<()> {
    // A write past the limit on the size of files is an error then, not the end.
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    let ignored = ignored_signals();
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter();
    let mut signals = Signals::new(wanted.filter(|signal| ignored >> (signal - 1) & 1 == 0))?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            stop(signal);
        }
    });
    Ok(())
}

/// Removes the unfinished file or folder and dies of the signal, so that a shell's loop ends, too.
/// Never releases the lock.
fn stop(signal: i32) -> ! {
    let path = unfinished();
    if let Some(path) = path.as_ref() {
        // Nothing better can be done where this fails.
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
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
