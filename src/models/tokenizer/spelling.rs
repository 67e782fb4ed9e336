//! How the texts of tokens spell bytes.

use crate::models::vocabulary::TokenKind;
use std::borrow::Cow;

/// The spelling of a tokenizer's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// A character for each byte.
    ByteLevel,
    /// UTF-8, with U+2581 for spaces; and a token for each byte besides.
    SentencePiece,
}

impl Spelling {
    /// Whether `c` would read as another text when spelled.
    pub fn is_mark(self, c: char) -> bool {
        self == Self::SentencePiece && SPACE.starts_with(c)
    }

    /// `text` as it is before it is split into words.
    pub fn spell(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::ByteLevel => text.into(),
            Self::SentencePiece => text.replace(' ', SPACE).into(),
        }
    }
}

/// The stand-in for a space in tokens.
pub const SPACE: &str = "\u{2581}";

/// How text becomes a token, and the token's bytes.
pub fn bytes_of(token: &str) -> (TokenKind, Vec<u8>) {
    let hex = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
    match byte.filter(|&byte| byte_token(byte) == token) {
        Some(byte) => (TokenKind::Byte, vec![byte]),
        None => (TokenKind::Ordinary, token.replace(SPACE, " ").into_bytes()),
    }
}

/// The text of the token that is a byte.
pub fn byte_token(byte: u8) -> String {
    format!("<0x{byte:02X}>")
}

/// GPT-2's printable stand-ins for bytes, by byte: printable ones stand for themselves, the others,
/// in order, for U+0100 on.
pub fn stand_ins() -> [char; 256] {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut others = '\u{100}'..;
    std::array::from_fn(|byte| match byte as u8 {
        byte if printable(byte) => byte.into(),
        _ => others.next().expect("more characters than bytes"),
    })
}

#[cfg(test)]
mod tests {
    use super::stand_ins;

    #[test]
    fn every_byte_has_its_own_stand_in() {
        let stand_ins = stand_ins();
        assert_eq!(stand_ins.iter().collect::<std::collections::HashSet<_>>().len(), 256);
        assert_eq!(stand_ins[usize::from(b'a')], 'a');
        assert_eq!(stand_ins[usize::from(b' ')], '\u{120}');
        assert_eq!(stand_ins[usize::from(b'\n')], '\u{10a}');
        assert_eq!(stand_ins[0xad], '\u{143}');
    }
}
