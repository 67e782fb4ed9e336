//! Makes the checksums of an archive fit what it says, as far as it can be followed: for fuzzing, so
//! that what is changed at random is looked at.

use super::{MAGIC, crc8};

/// Overwrites all checksums, index lengths, and hashes of contents that are stored; no other byte.
/// The checksums of coded plain bytes are left as they are.
pub fn mend(archive: &mut [u8]) {
    let mut walk = Walk { archive, at: 0 };
    while walk.stream().is_some() {}
}

/// A chunk's tag and lengths.
struct Extent {
    is_block: bool,
    is_stored: bool,
    plain_len: usize,
    /// Of the payload.
    len: usize,
}

/// A place in an archive. Methods give `None` where it ends.
struct Walk<'a> {
    archive: &'a mut [u8],
    at: usize,
}

impl Walk<'_> {
    fn take(&mut self, n: usize) -> Option<&[u8]> {
        let start = self.at;
        self.at = start.checked_add(n).filter(|&end| end <= self.archive.len())?;
        Some(&self.archive[start..self.at])
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn varint(&mut self) -> Option<usize> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                break;
            }
        }
        usize::try_from(value).ok()
    }

    /// Overwrites what stands here and passes over it.
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.take(bytes.len())?;
        self.archive[self.at - bytes.len()..self.at].copy_from_slice(bytes);
        Some(())
    }

    /// Puts the CRC-32 of all from `start` to here.
    fn seal(&mut self, start: usize) -> Option<()> {
        self.put(&crc32fast::hash(&self.archive[start..self.at]).to_le_bytes())
    }

    fn stream(&mut self) -> Option<()> {
        let start = self.at;
        if self.take(4)? != MAGIC {
            return None;
        }
        self.byte()?;
        let model = self.byte()?;
        if model & 0x3F == 0x3F {
            self.take(32)?;
            let label_len = self.varint()?;
            self.take(label_len)?;
        }
        let mut block_len = None;
        if model & 0x40 != 0 {
            while self.extension(&mut block_len)? {}
        }
        if model & 0x80 != 0 { self.single(start) } else { self.long(start, block_len) }
    }

    /// Passes over an extension, and takes the length of blocks from it; whether another follows.
    fn extension(&mut self, block_len: &mut Option<usize>) -> Option<bool> {
        let key = self.varint()?;
        let (len, start) = (self.varint()?, self.at);
        self.take(len)?;
        if key / 2 == 14 {
            let end = std::mem::replace(&mut self.at, start);
            *block_len = self.varint().filter(|&len| len > 0);
            self.at = end;
        }
        Some(key & 1 == 1)
    }

    /// The rest of a tag, and lengths.
    fn extent(&mut self, tag: u8) -> Option<Extent> {
        let is_block = tag == 0x01;
        let tag = if is_block { self.byte()? } else { tag };
        self.rest_of_tag(tag)?;
        let (is_stored, plain_len) = (tag == 0, self.varint()?);
        let len = if is_stored && !is_block { plain_len } else { self.varint()? };
        Some(Extent { is_block, is_stored, plain_len, len })
    }

    /// Passes over the second byte of a tag that is no block's, if it has one.
    fn rest_of_tag(&mut self, tag: u8) -> Option<()> {
        if matches!(tag, 0x02..0x3F) { self.byte().map(drop) } else { Some(()) }
    }

    fn single(&mut self, start: usize) -> Option<()> {
        let tag = self.byte()?;
        let Extent { is_stored, len, .. } = self.extent(tag)?;
        self.put(&[crc8(&self.archive[start..self.at])])?;
        let fields = self.archive[start..self.at].to_vec();
        let crc_at = self.at;
        self.take(4)?;
        let payload = self.take(len)?.to_vec();
        let next = self.at;
        if is_stored {
            self.at = crc_at;
            self.put(&crc32fast::hash(&[fields, payload].concat()).to_le_bytes())?;
        }
        self.at = next;
        Some(())
    }

    fn long(&mut self, start: usize, block_len: Option<usize>) -> Option<()> {
        self.varint()?;
        self.seal(start)?;
        if let Some(block_len) = block_len {
            let len = self.at - start;
            self.take(len.checked_next_multiple_of(block_len)? - len)?;
        }
        // While all chunks are stored.
        let mut content = Some(blake3::Hasher::new());
        let index = loop {
            let start = self.at;
            match self.byte()? {
                0x3F => break start,
                tag => match (self.chunk(start, tag)?, &mut content) {
                    (Some(plain), Some(content)) => drop(content.update(&plain)),
                    _ => content = None,
                },
            }
        };
        for _ in 0..self.varint()? {
            let tag = match self.byte()? {
                0x01 => self.byte()?,
                tag => tag,
            };
            self.rest_of_tag(tag)?;
            self.varint()?;
            self.varint()?;
        }
        self.seal(index)?;
        let (footer, index_len) = (self.at, (self.at - index) as u32);
        match content {
            Some(content) => self.put(content.finalize().as_bytes())?,
            None => drop(self.take(32)?),
        }
        self.put(&index_len.to_le_bytes())?;
        self.seal(footer)?;
        self.take(4).map(drop)
    }

    /// A chunk whose tag was read; gives its plain bytes where it is stored.
    fn chunk(&mut self, start: usize, tag: u8) -> Option<Option<Vec<u8>>> {
        let Extent { is_block, is_stored, plain_len, len } = self.extent(tag)?;
        if is_block {
            self.take(8)?; // its start
        }
        let crcs = self.at;
        let payload = self.archive.get((crcs + 12)..)?.get(..len).map(<[u8]>::to_vec);
        let crc = payload.as_deref().map(crc32fast::hash);
        let plain = payload.filter(|_| is_stored);
        let plain = plain.map(|payload| payload[..plain_len.min(payload.len())].to_vec());
        match &plain {
            Some(plain) => self.put(&crc32fast::hash(plain).to_le_bytes())?,
            _ => drop(self.take(4)?),
        }
        match crc {
            Some(crc) => self.put(&crc.to_le_bytes())?,
            None => drop(self.take(4)?),
        }
        self.seal(start)?;
        self.take(len)?;
        Some(plain)
    }
}
