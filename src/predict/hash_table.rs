//! The bounded table of bit histories.
//!
//! A slot holds, for one context and one half of a byte, the 15 histories on the binary tree of its four bits and a check of
//! the context. Slots lie in groups of four (one cache line); a context may lie anywhere in its group and takes the place of
//! the slot that has seen least. A wrong context passes the check once in 256 tries: that costs bits, never correctness.

const SLOTS_PER_GROUP: u32 = 4;

/// Slot of the table: `[check, histories of nodes 1..=15]`.
#[derive(Clone, Copy)]
#[repr(align(16))]
struct Slot([u8; 16]);

/// Histories by hashed context and half byte; see the module.
pub struct HashTable {
    slots: Vec<Slot>,
    shift: u32,
}

impl HashTable {
    /// A table of `2^bytes_log2` bytes, at least one group.
    pub fn new(bytes_log2: u32) -> Self {
        let groups_log2 = bytes_log2.clamp(7, 30) - 6;
        HashTable { slots: vec![Slot([0; 16]); (SLOTS_PER_GROUP << groups_log2) as usize], shift: 32 - groups_log2 }
    }

    /// The slot of the context `hash`, found or made.
    #[inline]
    pub fn find(&mut self, hash: u32) -> u32 {
        let check = hash as u8;
        let first = (hash >> self.shift) * SLOTS_PER_GROUP;
        let mut victim = first;
        for slot in first..first + SLOTS_PER_GROUP {
            let Slot(bytes) = &self.slots[slot as usize];
            if bytes[0] == check && bytes[1] != 0 {
                return slot;
            }
            if bytes[1] < self.slots[victim as usize].0[1] {
                victim = slot;
            }
        }
        self.slots[victim as usize].0 = [0; 16];
        self.slots[victim as usize].0[0] = check;
        victim
    }

    /// The history at `node` (1..=15) of `slot`.
    #[inline]
    pub fn history(&self, slot: u32, node: u32) -> u8 {
        self.slots[slot as usize].0[(node & 15) as usize]
    }

    /// Sets the history at `node` of `slot`.
    #[inline]
    pub fn set_history(&mut self, slot: u32, node: u32, state: u8) {
        self.slots[slot as usize].0[(node & 15) as usize] = state;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_found_again_and_told_apart() {
        let mut table = HashTable::new(12);
        let a = table.find(0x1234_5601);
        table.set_history(a, 1, 9);
        let b = table.find(0x1234_5602);
        assert_ne!(a, b, "another check is another context");
        assert_eq!(table.history(b, 1), 0);
        assert_eq!(table.find(0x1234_5601), a);
        assert_eq!(table.history(a, 1), 9);
    }

    #[test]
    fn a_full_group_gives_up_what_it_has_seen_least() {
        let mut table = HashTable::new(7);
        let slots: Vec<u32> = (1..=4).map(|check| table.find(check)).collect();
        for (i, &slot) in slots.iter().enumerate() {
            table.set_history(slot, 1, [7, 3, 9, 5][i]);
        }
        assert_eq!(table.find(99), slots[1]);
        assert_eq!(table.history(slots[1], 1), 0);
    }
}
