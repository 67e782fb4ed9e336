//! Bytes that the lanes have read: one buffer, with every lane's slice at its own offset.

/// Known bytes of a chunk.
pub struct History {
    bytes: Vec<u8>,
    /// Whether a token ended before this byte's successor: see [`History::mark_boundary`].
    boundaries: Vec<bool>,
    lane_len: u32,
    /// Position of each lane's next byte.
    ends: Vec<u32>,
}

impl History {
    /// Creates an empty buffer for `n_lanes` slices of `lane_len` bytes. Position 0 is never used:
    /// it means "none".
    pub fn new(n_lanes: u32, lane_len: u32) -> Self {
        let lane_len = lane_len.max(1);
        let size = (n_lanes * lane_len) as usize + 1;
        History {
            bytes: vec![0; size],
            boundaries: vec![false; size],
            lane_len,
            ends: (0..n_lanes).map(|lane| lane * lane_len + 1).collect(),
        }
    }

    /// Appends a byte to `lane`.
    pub fn push(&mut self, lane: usize, byte: u8) {
        self.bytes[self.ends[lane] as usize] = byte;
        self.ends[lane] += 1;
    }

    /// Records that a token of `lane` ends with its last byte.
    pub fn mark_boundary(&mut self, lane: usize) {
        self.boundaries[self.ends[lane] as usize - 1] = true;
    }

    /// Returns whether a token ended with the byte before `position`.
    pub fn boundary_before(&self, position: u32) -> bool {
        self.boundaries[position as usize - 1]
    }

    /// Returns the byte at `position`.
    #[inline]
    pub fn at(&self, position: u32) -> u8 {
        self.bytes[position as usize]
    }

    /// Returns the position of `lane`'s next byte.
    #[inline]
    pub fn end(&self, lane: usize) -> u32 {
        self.ends[lane]
    }

    /// Returns the number of bytes that `lane` has read.
    #[inline]
    pub fn len(&self, lane: usize) -> u32 {
        self.ends[lane] - self.start(lane)
    }

    /// Returns the byte `distance` back from `lane`'s end (1 = the last), 0 where there is none.
    #[inline]
    pub fn back(&self, lane: usize, distance: u32) -> u8 {
        if distance > self.len(lane) {
            0
        } else {
            self.bytes[(self.ends[lane] - distance) as usize]
        }
    }

    /// Returns whether some lane has read the byte at `position`.
    pub fn is_written(&self, position: u32) -> bool {
        let lane = (position - 1) / self.lane_len;
        self.ends.get(lane as usize).is_some_and(|&end| position < end)
    }

    /// Returns a hash of `lane`'s last `n` bytes; it must have as many.
    pub fn hash_of_last(&self, lane: usize, n: u32) -> u32 {
        let end = self.ends[lane] as usize;
        let last = &self.bytes[end - n as usize..end];
        last.iter()
            .fold(0, |hash: u32, &byte| {
                (hash ^ byte as u32 ^ 0x5A).wrapping_mul(0x2F0B_4C47).rotate_left(11)
            })
            .wrapping_mul(0x9E37_79B1)
    }

    /// Counts the bytes, up to `max`, before `position` that equal `lane`'s last ones.
    pub fn agreement(&self, lane: usize, position: u32, max: u32) -> u32 {
        let (end, max) = (self.ends[lane], max.min(self.len(lane)).min(position - 1));
        (1..=max).take_while(|&i| self.at(end - i) == self.at(position - i)).count() as u32
    }

    /// Copies to every other lane, which must be empty, the bytes that lane 0 has read so far.
    pub fn spread(&mut self) {
        let read = 1..self.ends[0] as usize;
        for lane in 1..self.ends.len() {
            let start = self.start(lane) as usize;
            self.bytes.copy_within(read.clone(), start);
            self.boundaries.copy_within(read.clone(), start);
            self.ends[lane] += read.len() as u32;
        }
    }

    /// Returns the position where `lane`'s slice begins.
    fn start(&self, lane: usize) -> u32 {
        lane as u32 * self.lane_len + 1
    }
}
