//! An input read field by field. Past its end all fields are 0 or empty.

pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    pub fn u8(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As many bytes as a field of two bytes says.
    pub fn counted(&mut self) -> &'a [u8] {
        let n = self.u16();
        self.bytes(n.into())
    }
}

/// What [`Fields::counted`] reads.
pub fn counted(bytes: &[u8]) -> Vec<u8> {
    let n = u16::try_from(bytes.len()).expect("a seed is short");
    [&n.to_le_bytes()[..], bytes].concat()
}
