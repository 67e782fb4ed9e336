//! Joined archives of stored chunks, damage to them, and what is true of it.

use crate::handmade::{chunk_header, long, long_header, single};
use crate::random::Random;
use llmzip::archive::Damage;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

/// One chunk.
#[derive(Debug)]
struct Chunk {
    number: usize,
    /// Its bytes in the file: in single form, those of the stream.
    frame: Range<usize>,
    /// Its bytes in the content.
    plain: Range<usize>,
}

/// Some streams.
pub struct Joined {
    archive: Vec<u8>,
    content: Vec<u8>,
    chunks: Vec<Chunk>,
    /// Where something ends and something else begins.
    borders: BTreeSet<usize>,
}

/// A damaged archive.
pub struct Damaged {
    pub archive: Vec<u8>,
    /// What was done to its bytes, for people.
    pub done: Vec<String>,
    /// The chunks that were not hit.
    pub intact: BTreeSet<usize>,
}

impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} with borders at {:?}", self.chunks, self.borders)
    }
}

fn below(random: &mut Random, n: usize) -> usize {
    random.bits() as usize % n
}

impl Joined {
    /// One to three streams of chunks of any length, no two alike.
    pub fn any(random: &mut Random) -> Self {
        let (archive, content) = (Vec::new(), Vec::new());
        let mut joined = Self { archive, content, chunks: vec![], borders: BTreeSet::new() };
        let mut lens: Vec<usize> = (40..400).collect();
        for _ in 0..1 + below(random, 3) {
            let n_chunks = if random.bits().is_multiple_of(4) { 0 } else { 1 + below(random, 4) };
            let mut plains = Vec::new();
            for _ in 0..n_chunks.max(1) {
                let len = lens.swap_remove(below(random, lens.len()));
                plains.push((0..len).map(|_| random.bits() as u8).collect::<Vec<_>>());
            }
            match n_chunks {
                0 => joined.push_single(&plains[0]),
                _ => joined.push_long(&plains),
            }
        }
        joined
    }

    fn push_single(&mut self, plain: &[u8]) {
        let start = self.archive.len();
        self.archive.extend(single(0x81, 0, &[plain.len() as u64], plain));
        self.push_chunk(0, start..self.archive.len(), plain);
    }

    fn push_long(&mut self, plains: &[Vec<u8>]) {
        self.borders.insert(self.archive.len());
        let mut place = self.archive.len() + long_header(400).len();
        for (number, plain) in plains.iter().enumerate() {
            let start = place;
            place += chunk_header(0, &[plain.len() as u64], plain).len() + plain.len();
            self.push_chunk(number, start..place, plain);
        }
        let plains: Vec<&[u8]> = plains.iter().map(|plain| &plain[..]).collect();
        self.archive.extend(long(400, &plains));
        self.borders.extend([self.archive.len() - 44, self.archive.len()]);
    }

    fn push_chunk(&mut self, number: usize, frame: Range<usize>, plain: &[u8]) {
        let start = self.content.len();
        self.content.extend(plain);
        self.borders.extend([frame.start, frame.end]);
        self.chunks.push(Chunk { number, frame, plain: start..self.content.len() });
    }

    /// With one to four changes. Bytes are removed or added: where as many were added as removed, the index
    /// is believed.
    pub fn damaged(&self, random: &mut Random) -> Damaged {
        let mut archive = self.archive.clone();
        let mut intact: BTreeSet<usize> = (0..self.chunks.len()).collect();
        let (mut done, mut end) = (Vec::new(), archive.len());
        let adds = random.bits().is_multiple_of(2);
        // From the back, so that places before stay what they are.
        for _ in 0..1 + below(random, 4) {
            if end == 0 {
                break;
            }
            let start = below(random, end);
            let most = if random.bits().is_multiple_of(2) { 3 } else { 2000 };
            let range = start..(start + 1 + below(random, most)).min(end);
            let hit = match (below(random, 2), adds) {
                (0, false) => {
                    // What is lost from border to border, nobody can tell.
                    if self.borders.contains(&range.start) && self.borders.contains(&range.end) {
                        continue;
                    }
                    archive.drain(range.clone());
                    done.push(format!("{range:?} removed"));
                    range
                }
                (0, true) => {
                    let len = 1 + below(random, most);
                    let noise: Vec<u8> = (0..len).map(|_| random.bits() as u8).collect();
                    archive.splice(start..start, noise);
                    done.push(format!("{len} added at {start}"));
                    start..start
                }
                _ => {
                    let flipped = random.bits() as u8 | 1;
                    archive[range.clone()].iter_mut().for_each(|byte| *byte ^= flipped);
                    done.push(format!("{range:?} changed"));
                    range
                }
            };
            let is_hit = |frame: &Range<usize>| frame.start < hit.end && hit.start < frame.end;
            let is_split = |frame: &Range<usize>| {
                hit.is_empty() && frame.start < hit.start && hit.start < frame.end
            };
            intact.retain(|&chunk| {
                let frame = &self.chunks[chunk].frame;
                !is_hit(frame) && !is_split(frame)
            });
            end = start;
        }
        Damaged { archive, done, intact }
    }

    /// The bytes of the content that are missing from `plain`, or what is wrong with it, where all chunks
    /// but those that are `intact` were hit.
    pub fn missing(
        &self,
        plain: &[u8],
        intact: &BTreeSet<usize>,
    ) -> Result<BTreeSet<usize>, String> {
        let mut rest = plain;
        let mut missing = BTreeSet::new();
        for (number, chunk) in self.chunks.iter().enumerate() {
            match rest.strip_prefix(&self.content[chunk.plain.clone()]) {
                Some(after) => rest = after,
                None if intact.contains(&number) => {
                    return Err(format!("chunk {number} of all was left out"));
                }
                None => missing.extend(chunk.plain.clone()),
            }
        }
        if rest.is_empty() { Ok(missing) } else { Err("wrong bytes came out".into()) }
    }

    /// Checks that what `damage` says to be missing is, and all that is.
    pub fn check_places(
        &self,
        mut missing: BTreeSet<usize>,
        damage: &[Damage],
    ) -> Result<(), String> {
        let (mut elsewhere, mut unknown_from) = (0, usize::MAX);
        for damage in damage {
            let start = damage.missing.start.map(|start| start as usize);
            match (start, damage.missing.len.map(|len| len as usize)) {
                (None, Some(len)) => elsewhere += len,
                (start, None) => unknown_from = unknown_from.min(start.unwrap_or(0)),
                (Some(start), Some(len)) => {
                    let range = start..start + len;
                    let chunk = self.chunks.iter().find(|chunk| chunk.plain == range);
                    let is_right = chunk.is_some_and(|chunk| damage.chunk == Some(chunk.number));
                    if !is_right || !range.into_iter().all(|at| missing.remove(&at)) {
                        return Err(format!("this is wrong: {damage}"));
                    }
                }
            }
        }
        let unsaid = missing.range(..unknown_from).count();
        if unsaid > elsewhere {
            return Err(format!("{} missing bytes were not told of", unsaid - elsewhere));
        }
        Ok(())
    }
}
