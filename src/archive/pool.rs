//! The threads of a call.

use crate::error::{Error, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// At most so many threads as a call may use, whatever pool its caller runs on.
pub(super) struct Pool(Option<ThreadPool>);

impl Pool {
    /// The caller's own pool where that has no more than `threads`, else a new one. WebAssembly has one thread,
    /// which is rayon's own pool.
    ///
    /// # Errors
    /// Io where threads cannot be started.
    pub(super) fn of(threads: usize) -> Result<Self> {
        let threads = threads.max(1);
        let is_one_of_few =
            || rayon::current_thread_index().is_some() && rayon::current_num_threads() <= threads;
        if cfg!(target_family = "wasm") || is_one_of_few() {
            return Ok(Self(None));
        }
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let no_threads = |e| Error::io("cannot start threads", std::io::Error::other(e));
        pool.map(Some).map(Self).map_err(no_threads)
    }

    /// Runs `work`, whose parallel parts then use no other threads.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.0 {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}
