//! Measurement of work: wall clock, processor time, memory.

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::fs;
use std::io;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};
use wait4::Wait4;

/// Cost of compression or decompression.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cost {
    pub wall_s: f64,
    /// User and system time of all threads.
    pub cpu_s: f64,
    /// Peak memory in bytes; `None` where unknown.
    pub peak_rss: Option<u64>,
}

impl Cost {
    /// Returns the times of the faster run and the greater peak.
    pub fn best(self, other: Self) -> Self {
        let faster = if other.wall_s < self.wall_s { other } else { self };
        Self { peak_rss: self.peak_rss.max(other.peak_rss), ..faster }
    }
}

/// Runs `work` in this process and measures it.
///
/// # Errors
/// Errors of `work`.
pub fn measured<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Cost)> {
    let can_reset = fs::write("/proc/self/clear_refs", "5").is_ok();
    let (cpu, begin) = (cpu_time(), Instant::now());
    let done = work()?;
    let (wall_s, cpu) = (begin.elapsed().as_secs_f64(), cpu_time().saturating_sub(cpu));
    let peak_rss = peak_rss().filter(|_| can_reset);
    Ok((done, Cost { wall_s, cpu_s: cpu.as_secs_f64(), peak_rss }))
}

/// Runs `command` to its end and measures it.
///
/// # Errors
/// I/O errors: NotFound where there is no such program.
pub fn measured_child(command: &mut Command) -> io::Result<(ExitStatus, Cost)> {
    // The kernel counts for a child what its parent had when it was started.
    let floor = peak_rss();
    let begin = Instant::now();
    let used = command.spawn()?.wait4()?;
    let wall_s = begin.elapsed().as_secs_f64();
    let cpu_s = (used.rusage.utime + used.rusage.stime).as_secs_f64();
    let peak_rss = Some(used.rusage.maxrss).filter(|peak| floor.is_some_and(|floor| *peak > floor));
    Ok((used.status, Cost { wall_s, cpu_s, peak_rss }))
}

/// Returns the processor time of this process so far.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// Returns the peak memory of this process in bytes since the last reset.
fn peak_rss() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
