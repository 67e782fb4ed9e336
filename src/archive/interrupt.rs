//! A caller's question whether to go on.

use std::fmt;
use std::sync::Arc;

/// A question that a call asks from time to time while its threads work, on the thread that called: whether to stop.
///
/// Where it says so once, the call ends within the time of some thousand bytes with
/// [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted): chunks that were worked on are dropped, and none is written
/// in part. It is not asked where the caller's own rayon pool does the work, nor in WebAssembly.
///
/// ```
/// use llmzip::archive::Interrupt;
/// use llmzip::{Encoder, ErrorKind, Model, Options};
/// use std::io::Write;
///
/// let model = Model::builtin()?;
/// let options = Options::default().level(1).interrupt(Interrupt::new(|| true));
/// let mut encoder = Encoder::new(Vec::new(), &model, &options)?;
/// encoder.write_all(&[b'a'; 3_000_000])?;
/// assert_eq!(encoder.finish().err().map(|e| e.kind()), Some(ErrorKind::Interrupted));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Interrupt(Arc<dyn Fn() -> bool + Send + Sync>);

impl Interrupt {
    /// One that asks `is_wanted`.
    pub fn new(is_wanted: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_wanted))
    }

    /// Asks.
    pub(super) fn is_wanted(&self) -> bool {
        (self.0)()
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupt")
    }
}
