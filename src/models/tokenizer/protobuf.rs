//! As much of the protocol buffer encoding as `tokenizer.model` takes.
//!
//! <https://protobuf.dev/programming-guides/encoding/>. Reads only what is there: a length is
//! checked against the bytes that follow it.

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Field<'a> {
    /// An integer, an enumeration or a truth value.
    Varint(u64),
    /// A `float` or other number of 32 bits.
    Fixed32([u8; 4]),
    /// A number of 64 bits.
    Fixed64([u8; 8]),
    /// A string, bytes or a message.
    Bytes(&'a [u8]),
}

/// The fields of `message` in its order, with their numbers; ends after the first error.
pub fn fields(message: &[u8]) -> impl Iterator<Item = Result<(u64, Field<'_>), String>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = message.len() - rest.len();
        let field = next_field(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field.ok_or_else(|| format!("no protocol buffer field at byte {at}")))
    })
}

/// Takes the number and value of a field off the front of `rest`.
fn next_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let tag = varint(rest)?;
    let field = match tag & 7 {
        0 => Field::Varint(varint(rest)?),
        1 => Field::Fixed64(take_array(rest)?),
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            let (bytes, after) = rest.split_at_checked(length)?;
            *rest = after;
            Field::Bytes(bytes)
        }
        5 => Field::Fixed32(take_array(rest)?),
        _ => return None,
    };
    Some((tag >> 3, field))
}

/// Seven bits a byte, the low ones first; the high bit says that more follow.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (array, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*array)
}

#[cfg(test)]
mod tests {
    use super::{Field, fields};

    #[test]
    fn every_kind_of_field_is_read() {
        let message = [
            &[0x08, 0x96, 0x01][..],
            &[0x12, 2, b'h', b'i'],
            &[0x1d, 0, 0, 0x80, 0x3f],
            &[0x21, 1, 2, 3, 4, 5, 6, 7, 8],
        ]
        .concat();
        let read: Vec<_> = fields(&message).map(Result::unwrap).collect();
        let fixed32 = Field::Fixed32(1f32.to_le_bytes());
        let fixed64 = Field::Fixed64([1, 2, 3, 4, 5, 6, 7, 8]);
        let expected =
            [(1, Field::Varint(150)), (2, Field::Bytes(b"hi")), (3, fixed32), (4, fixed64)];
        assert_eq!(read, expected);
        for end in 0..message.len() {
            let whole = [0, 3, 7, 12].contains(&end);
            assert_eq!(fields(&message[..end]).all(|field| field.is_ok()), whole, "{end} bytes");
        }
    }

    #[test]
    fn what_is_no_field_is_refused() {
        let endless = [0xff; 16];
        let long = [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, b'x'];
        for message in [&endless[..], &long, &[0x0b], &[0x0f]] {
            assert_eq!(fields(message).filter(|field| field.is_err()).count(), 1);
        }
    }
}
