//! Bit histories under each context of a byte, and their predictions of its next bit.
//!
//! A context of half a byte has a slot of the hash table with the bit histories on the tree of its
//! four bits. For each context a map learns the probability that a history stands for.

use super::bit_history::NEXT;
use super::contexts::N_ORDERS;
use super::counters::{Counter, HistoryMap};
use super::hash_table::{HashTable, HistorySlot};

/// Number of bits that a map from histories to probabilities averages over.
const HISTORY_MAP_LIMIT: u32 = 255;

/// Set of `N` contexts of half a byte, with the histories of the next bit loaded.
pub struct ContextSet<const N: usize> {
    table: HashTable,
    maps: Box<[HistoryMap; N]>,
    hashes: [u32; N],
    slots: [u32; N],
    /// Contents of the slots, between reading from the table and writing back.
    histories: [HistorySlot; N],
    /// The histories of the next bit.
    states: [u8; N],
    /// Node of that bit in the tree of the half byte, 1..=15.
    node: usize,
}

impl<const N: usize> ContextSet<N> {
    /// Creates a set with a table of `2^table_log2` bytes.
    pub fn new(table_log2: u32) -> Self {
        ContextSet {
            table: HashTable::new(table_log2),
            maps: Box::new(std::array::from_fn(|_| HistoryMap::new())),
            hashes: [0; N],
            slots: [0; N],
            histories: [[0; 16]; N],
            states: [0; N],
            node: 1,
        }
    }

    /// Prefetches contexts that a next byte will have.
    #[inline(always)]
    pub fn prefetch(&self, hashes: &[u32]) {
        hashes.iter().for_each(|&hash| self.table.prefetch(hash));
    }

    /// Starts a byte with the contexts `hashes`.
    #[inline(always)]
    pub fn begin_byte(&mut self, hashes: [u32; N]) {
        self.prefetch(&hashes);
        self.hashes = hashes;
        self.find(0);
    }

    /// Starts the second half of a byte; the first is in `partial`.
    #[inline(always)]
    pub fn begin_second_half(&mut self, partial: u32) {
        self.find(partial & 1);
    }

    /// Prefetches the slots of the second half of a byte when it is but a bit away, with three bits
    /// in `partial`: the two half bytes that differ only in that bit share a cache line.
    #[inline(always)]
    pub fn prepare_second_half(&mut self, partial: u32) {
        for hash in &mut self.hashes {
            *hash = self.table.near(*hash, partial);
            self.table.prefetch(*hash);
        }
    }

    fn find(&mut self, last_bit: u32) {
        for i in 0..N {
            (self.slots[i], self.histories[i]) = self.table.find(self.hashes[i] ^ last_bit);
        }
    }

    /// Moves to the bit after those in `partial`, of the half byte that began.
    #[inline(always)]
    pub fn seek(&mut self, partial: u32) {
        let low_bits = partial.ilog2() & 3;
        self.node = (1 << low_bits | partial & ((1 << low_bits) - 1)) as usize & 15;
        self.states = std::array::from_fn(|i| self.histories[i][self.node]);
    }

    /// Returns the bit's log-odds by each context and, as a second input, its probability about
    /// 1/2; both are 0 for unseen contexts.
    #[inline(always)]
    pub fn predict(&self) -> [[i32; N]; 2] {
        let counters: [Counter; N] = std::array::from_fn(|i| self.maps[i].get(self.states[i]));
        let stretches: [i32; N] = std::array::from_fn(|i| counters[i].stretch());
        let known: [i32; N] = std::array::from_fn(|i| -i32::from(self.states[i] != 0));
        [
            std::array::from_fn(|i| stretches[i] & known[i]),
            std::array::from_fn(|i| ((counters[i].p() as i32 - (1 << 15)) >> 5) & known[i]),
        ]
    }

    /// Returns how many of the plain orders have seen this place.
    #[inline(always)]
    pub fn known_orders(&self) -> usize {
        self.states[..N_ORDERS].iter().map(|&state| usize::from(state != 0)).sum()
    }

    /// Updates the maps with the bit that was predicted.
    #[inline(always)]
    pub fn update(&mut self, bit: bool) {
        for i in 0..N {
            self.maps[i].update(self.states[i], bit, HISTORY_MAP_LIMIT);
        }
    }

    /// Appends `bit` to the histories of the current place; with the last bit of a half byte they
    /// go back to the table.
    #[inline(always)]
    pub fn record(&mut self, bit: bool) {
        let next = &*NEXT;
        for i in 0..N {
            self.histories[i][self.node] = next[self.states[i] as usize][bit as usize];
        }
        if self.node >= 8 {
            for i in 0..N {
                self.table.put(self.slots[i], self.histories[i]);
            }
        }
    }
}
