//! The bounded table of bit histories.
//!
//! A slot holds, for one context and one half of a byte, the 15 histories on the binary tree of its
//! four bits and a check of the context. Slots lie in groups of four (one cache line); a context
//! may lie anywhere in its group and takes the place of the slot that has seen least. A wrong
//! context passes the check once in 256 tries: collisions cost compression, never correctness.

use super::hash::mix;
use crate::ops::arch::{prefer_large_pages, prefetch};

/// Number of groups in a page of memory, log2.
const PAGE_LOG2: u32 = 6;

/// Slot of a context: `[check, histories of nodes 1..=15]`.
pub type HistorySlot = [u8; 16];

/// Slots that share a cache line.
const GROUP: usize = 4;

/// Bytes of a cache line.
const LINE: usize = GROUP * size_of::<HistorySlot>();

/// Table of histories by hashed context and half byte; see the module.
pub struct HashTable {
    /// Some slots before the first cache line, then the groups.
    slots: Vec<HistorySlot>,
    /// Index of the first group.
    first: usize,
    shift: u32,
}

impl HashTable {
    /// Creates a table of `2^bytes_log2` bytes, at least two groups.
    pub fn new(bytes_log2: u32) -> Self {
        let groups_log2 = bytes_log2.clamp(7, 32) - LINE.ilog2();
        // Zeros from the system: pages are made when they are first used, large ones if it can.
        let mut slots = vec![[0; size_of::<HistorySlot>()]; GROUP * ((1 << groups_log2) + 1)];
        prefer_large_pages(&mut slots);
        let first = slots.as_ptr().align_offset(LINE).min(GROUP);
        HashTable { slots, first, shift: 32 - groups_log2 }
    }

    /// Returns the index of the group of the context `hash`.
    #[inline(always)]
    fn group(&self, hash: u32) -> usize {
        self.first + GROUP * (hash >> self.shift) as usize
    }

    /// Returns the hash of a place within the context `hash`: in the same page of memory, if not
    /// the same line.
    #[inline]
    pub fn near(&self, hash: u32, place: u32) -> u32 {
        hash ^ mix(hash, place) >> (32 - self.shift).saturating_sub(PAGE_LOG2)
    }

    /// Prefetches the cache line of the context `hash`.
    #[inline]
    pub fn prefetch(&self, hash: u32) {
        prefetch(&self.slots[self.group(hash)]);
    }

    /// Finds or creates the slot of the context `hash`; returns its index and content.
    #[inline(always)]
    pub fn find(&mut self, hash: u32) -> (u32, HistorySlot) {
        let (start, check) = (self.group(hash), hash as u8);
        let slots = &self.slots[start..start + GROUP];
        let mut victim = 0;
        for i in 0..GROUP {
            if slots[i][0] == check && slots[i][1] != 0 {
                return ((start + i) as u32, slots[i]);
            }
            if slots[i][1] < slots[victim][1] {
                victim = i;
            }
        }
        ((start + victim) as u32, (check as u128).to_le_bytes())
    }

    /// Writes back the updated content of a slot from [`find`](Self::find).
    #[inline]
    pub fn put(&mut self, slot: u32, histories: HistorySlot) {
        self.slots[slot as usize] = histories;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(table: &mut HashTable, hash: u32, state: u8) -> u32 {
        let (slot, mut histories) = table.find(hash);
        histories[1] = state;
        table.put(slot, histories);
        slot
    }

    #[test]
    fn contexts_are_found_again_and_told_apart() {
        let mut table = HashTable::new(12);
        let a = see(&mut table, 0x1234_5601, 9);
        let (b, histories) = table.find(0x1234_5602);
        assert_ne!(a, b, "another check is another context");
        assert_eq!(histories[1], 0);
        let (again, histories) = table.find(0x1234_5601);
        assert_eq!((again, histories[1]), (a, 9));
    }

    #[test]
    fn a_full_group_gives_up_what_it_has_seen_least() {
        let mut table = HashTable::new(7);
        let slots =
            [(1, 7), (2, 3), (3, 9), (4, 5)].map(|(check, state)| see(&mut table, check, state));
        assert_eq!(table.find(99), (slots[1], [99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    }
}
