//! Fields of a line, as tables, lists and logs have them: which one a lane is in, and what stands
//! there in the line before.

use super::hash::mix;
use super::history::History;

/// Number of fields of a line that are told apart; later ones count as the last.
pub const FIELDS: u32 = 32;

/// State of one lane: the fields of its current line and of the one before.
#[derive(Clone)]
pub struct FieldFinder {
    /// Positions at which the fields of the current line begin; 0 = not seen.
    current: [u32; FIELDS as usize],
    above: [u32; FIELDS as usize],
    /// Index of the current field, below [`FIELDS`].
    pub index: u32,
    /// Hash of its bytes so far.
    pub prefix: u32,
}

impl FieldFinder {
    /// Creates the state at the beginning of a text.
    pub fn new(start: u32) -> Self {
        let mut current = [0; FIELDS as usize];
        current[0] = start;
        FieldFinder { current, above: [0; FIELDS as usize], index: 0, prefix: 0 }
    }

    /// Returns the same state in a text that starts `distance` later.
    pub fn moved(&self, distance: u32) -> Self {
        let moved = |start: u32| if start == 0 { 0 } else { start + distance };
        Self { current: self.current.map(moved), above: self.above.map(moved), ..*self }
    }

    /// Moves past `byte`, whose successor lies at `end`.
    pub fn advance(&mut self, byte: u8, end: u32) {
        match byte {
            b'\n' => {
                self.above = std::mem::replace(&mut self.current, [0; FIELDS as usize]);
                self.index = 0;
            }
            b',' | b';' | b'\t' | b'|' | b' ' => self.index = (self.index + 1).min(FIELDS - 1),
            _ => {
                self.prefix = mix(self.prefix, byte as u32 + 1);
                return;
            }
        }
        self.current[self.index as usize] = end;
        self.prefix = 0;
    }

    /// Returns the byte at the same place of the same field in the line before, and the one after
    /// it; 0 where the line has none.
    pub fn above(&self, history: &History, end: u32) -> [u32; 2] {
        let start = self.above[self.index as usize];
        let at = start + (end - self.current[self.index as usize]);
        let byte = |at| match start > 0 && at < self.current[0] {
            true => history.at(at).into(),
            false => 0,
        };
        [byte(at), byte(at + 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &[u8]) -> (FieldFinder, History) {
        let mut history = History::new(1, text.len() as u32);
        let mut fields = FieldFinder::new(history.end(0));
        for &byte in text {
            history.push(0, byte);
            fields.advance(byte, history.end(0));
        }
        (fields, history)
    }

    fn above(text: &[u8]) -> [u8; 2] {
        let (fields, history) = after(text);
        fields.above(&history, history.end(0)).map(|byte| byte as u8)
    }

    #[test]
    fn a_place_is_found_in_the_same_field_of_the_line_before() {
        assert_eq!(above(b"1,second,3\n100,se"), *b"co");
        assert_eq!(above(b"1,second,3\n100,second"), *b",3");
        assert_eq!(above(b"1,second,3\n"), *b"1,");
    }

    #[test]
    fn nothing_is_above_the_first_line_or_past_the_last_field() {
        assert_eq!(above(b"1,second"), [0; 2]);
        assert_eq!(above(b"1,second\n1,2,"), [0; 2]);
        assert_eq!(above(b"1\n1234"), [0; 2]);
    }

    #[test]
    fn a_field_is_known_by_its_number_and_its_bytes() {
        let place = |text: &[u8]| {
            let FieldFinder { index, prefix, .. } = after(text).0;
            (index, prefix)
        };
        assert_eq!(place(b"a,bc"), place(b"a\nxyz;bc"));
        assert_ne!(place(b"a,bc"), place(b"a,b"));
        assert_ne!(place(b"a,bc"), place(b"a,,bc"));
        assert_eq!(place(&[b' '; 100]).0, FIELDS - 1);
    }
}
