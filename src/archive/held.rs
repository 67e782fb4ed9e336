//! Models that an encoder or a decoder works with: borrowed, or shared with others.

use std::ops::Deref;
use std::sync::Arc;

/// A reference to a `T`, or a share of one.
pub(super) enum Held<'a, T: ?Sized> {
    Borrowed(&'a T),
    Shared(Arc<T>),
}

impl<T: ?Sized> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Borrowed(held) => held,
            Self::Shared(held) => held,
        }
    }
}
