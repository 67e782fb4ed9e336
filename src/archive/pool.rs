//! The threads of a call.

use super::{Interrupt, Options};
use crate::codec::Stop;
use crate::error::{Error, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Time between two questions whether to stop.
const PATIENCE: Duration = Duration::from_millis(20);

/// At most so many threads as a call may use, whatever pool its caller runs on.
pub(super) struct Pool {
    /// `None`: the caller's own.
    own: Option<ThreadPool>,
    interrupt: Option<Interrupt>,
}

impl Pool {
    /// The caller's own pool where that has no more threads than `options`, else a new one. WebAssembly has one thread,
    /// which is rayon's own pool.
    ///
    /// # Errors
    /// Io where threads cannot be started.
    pub(super) fn of(options: &Options) -> Result<Self> {
        let (threads, interrupt) = (options.threads.max(1), options.interrupt.clone());
        let is_one_of_few =
            || rayon::current_thread_index().is_some() && rayon::current_num_threads() <= threads;
        if cfg!(target_family = "wasm") || is_one_of_few() {
            return Ok(Self { own: None, interrupt });
        }
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let no_threads = |e| Error::io("cannot start threads", std::io::Error::other(e));
        pool.map(|pool| Self { own: Some(pool), interrupt }).map_err(no_threads)
    }

    /// Runs `work`, whose parallel parts then use no other threads, and which ends early where its argument says so.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce(&Stop) -> T + Send) -> T {
        match (&self.own, &self.interrupt) {
            (Some(pool), Some(interrupt)) => run_asking(pool, interrupt, work),
            (Some(pool), None) => pool.install(|| work(Stop::never())),
            (None, _) => work(Stop::never()),
        }
    }
}

/// Runs `work` on the threads of `pool`, while this one asks `interrupt`.
fn run_asking<T: Send>(
    pool: &ThreadPool,
    interrupt: &Interrupt,
    work: impl FnOnce(&Stop) -> T + Send,
) -> T {
    let (stop, (done, result)) = (&Stop::default(), sync_channel(1));
    let result = pool.in_place_scope(|scope| {
        scope.spawn(move |_| _ = done.send(work(stop)));
        loop {
            match result.recv_timeout(PATIENCE) {
                Ok(result) => return Some(result),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if interrupt.is_wanted() => stop.request(),
                Err(RecvTimeoutError::Timeout) => (),
            }
        }
    });
    result.expect("a panic of the work goes on from the scope")
}
