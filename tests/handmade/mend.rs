//! Makes the checksums of an archive fit what it says, as far as it can be followed: for fuzzing, so
//! that what is changed at random is looked at.

use super::{MAGIC, crc8};

/// Overwrites all checksums, index lengths, and hashes of contents that are stored; no other byte.
/// The checksums of coded plain bytes are left as they are.
pub fn mend(archive: &mut [u8]) {
    let mut walk = Walk { archive, at: 0 };
    while walk.stream().is_some() {}
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
        if model & 0x40 != 0 {
            while self.extension()? {}
        }
        if model & 0x80 != 0 { self.single(start) } else { self.long(start) }
    }

    /// Passes over an extension; whether another follows.
    fn extension(&mut self) -> Option<bool> {
        let more = self.varint()? & 1 == 1;
        let len = self.varint()?;
        self.take(len).map(|_| more)
    }

    /// Tag and lengths: whether stored, and the payload's length.
    fn extent(&mut self, tag: u8) -> Option<(bool, usize)> {
        self.rest_of_tag(tag)?;
        let (is_stored, plain_len) = (tag == 0, self.varint()?);
        Some((is_stored, if is_stored { plain_len } else { self.varint()? }))
    }

    /// Passes over the second byte of a tag, if it has one.
    fn rest_of_tag(&mut self, tag: u8) -> Option<()> {
        if matches!(tag, 0x01..0x3F) { self.byte().map(drop) } else { Some(()) }
    }

    fn single(&mut self, start: usize) -> Option<()> {
        let tag = self.byte()?;
        let (is_stored, len) = self.extent(tag)?;
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

    fn long(&mut self, start: usize) -> Option<()> {
        self.varint()?;
        self.seal(start)?;
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
            let tag = self.byte()?;
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
        let (is_stored, len) = self.extent(tag)?;
        let crcs = self.at;
        let payload = self.archive.get((crcs + 12)..)?.get(..len).map(<[u8]>::to_vec);
        let crc = payload.as_deref().map(crc32fast::hash);
        match crc {
            Some(crc) if is_stored => self.put(&crc.to_le_bytes())?,
            _ => drop(self.take(4)?),
        }
        match crc {
            Some(crc) => self.put(&crc.to_le_bytes())?,
            None => drop(self.take(4)?),
        }
        self.seal(start)?;
        self.take(len)?;
        Some(payload.filter(|_| is_stored))
    }
}
