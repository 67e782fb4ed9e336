//! Pauses between attempts: bounded in number, each twice as long as the last.

use super::Watch;
use std::thread;
use std::time::Duration;

/// Attempts after the first.
const MAX_RETRIES: u32 = 6;

/// Longest pause that a server may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// The attempts that are left.
pub struct Retries<'a> {
    left: u32,
    pause: Duration,
    watch: &'a dyn Watch,
}

impl<'a> Retries<'a> {
    /// Begins with a pause of a sixtieth of `timeout`; `watch` is told of each.
    pub fn new(timeout: Duration, watch: &'a dyn Watch) -> Self {
        Self { left: MAX_RETRIES, pause: timeout / 60, watch }
    }

    /// Waits before another attempt, for `asked` at least; false at once where there is to be none.
    pub fn wait(&mut self, why: &str, asked: Option<Duration>) -> bool {
        let asked = asked.unwrap_or_default();
        if self.left == 0 || asked > MAX_PAUSE {
            return false;
        }
        let pause = asked.max(self.pause);
        self.watch.pause(why, pause);
        thread::sleep(pause);
        self.left -= 1;
        self.pause *= 2;
        true
    }
}
