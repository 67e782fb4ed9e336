//! Recovery of damaged archives: `scan` finds the segments, `chunk_layout` tells which chunk is
//! which, `recover` feeds the good ones to the driver of all decompression and reports the others.

mod chunk_layout;
mod recover;
mod report;
mod scan;
mod segments;

pub use recover::{Recovery, recover};
pub use report::{Damage, Missing};
