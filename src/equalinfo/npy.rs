//! Files of tokens: one-dimensional arrays in numpy's format, version 1.0.

use super::corrupt;
use crate::error::Result;

const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";

/// Bytes that the header of an array, magic and all, is a multiple of.
const ALIGNMENT: usize = 64;

/// The file of `tokens`: u8 where they have 8 bits, else u16.
pub fn write_npy(tokens: &[u16], token_bits: usize) -> Vec<u8> {
    let descr = if token_bits == 8 { "|u1" } else { "<u2" };
    let n = tokens.len();
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({n},), }}").into_bytes();
    let len = (MAGIC.len() + 2 + header.len() + 1).next_multiple_of(ALIGNMENT);
    header.resize(len - MAGIC.len() - 3, b' ');
    header.push(b'\n');
    let mut file = [MAGIC, &(header.len() as u16).to_le_bytes(), &header].concat();
    match token_bits {
        8 => file.extend(tokens.iter().map(|&token| token as u8)),
        _ => file.extend(tokens.iter().flat_map(|token| token.to_le_bytes())),
    }
    file
}

/// Reads an array of u8 or little-endian u16 of one dimension.
///
/// # Errors
/// Corrupt where it is none.
pub fn read_npy(file: &[u8]) -> Result<Vec<u16>> {
    let rest = file
        .strip_prefix(MAGIC)
        .ok_or_else(|| corrupt("not an array of numpy's format 1.0 (numpy.save)"))?;
    let header_len = rest.first_chunk().map(|len| usize::from(u16::from_le_bytes(*len)));
    let header = header_len.and_then(|len| rest.get(2..2 + len));
    let header = header.and_then(|header| std::str::from_utf8(header).ok());
    let header = header.ok_or_else(|| corrupt("the array's header is cut off"))?;
    let data = &rest[2 + header.len()..];
    let width = match () {
        () if header.contains("'|u1'") => 1,
        () if header.contains("'<u2'") => 2,
        () => {
            let message = format!("an array of other numbers than u8 and u16: {}", header.trim());
            return Err(corrupt(message));
        }
    };
    let shape = header.split_once("'shape': (").and_then(|(_, shape)| shape.split_once(",)"));
    let n = shape.and_then(|(n, _)| n.trim().parse::<usize>().ok());
    let n = n.ok_or_else(|| {
        corrupt(format!("an array of other than one dimension: {}", header.trim()))
    })?;
    if n.checked_mul(width) != Some(data.len()) {
        return Err(corrupt(format!("{} bytes of numbers, expected {n} of {width}", data.len())));
    }
    Ok(match width {
        1 => data.iter().map(|&byte| u16::from(byte)).collect(),
        _ => data.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_come_back_and_nothing_else_is_read() {
        for (tokens, bits) in
            [(vec![], 8), (vec![0, 255, 7], 8), (vec![4095, 0], 12), (vec![65535], 16)]
        {
            let file = write_npy(&tokens, bits);
            assert_eq!(read_npy(&file).unwrap(), tokens);
            let data_len = tokens.len() * if bits == 8 { 1 } else { 2 };
            assert!((file.len() - data_len).is_multiple_of(ALIGNMENT));
            for len in 0..file.len() {
                assert!(read_npy(&file[..len]).is_err(), "cut to {len}");
            }
        }
        let other = |from: &str, to: &str| {
            let file = String::from_utf8_lossy(&write_npy(&[1], 8)[8..]).replace(from, to);
            read_npy(&[MAGIC, file.as_bytes()].concat()).unwrap_err().to_string()
        };
        assert!(other("|u1", "<f4").contains("other numbers"));
        assert!(other("(1,)", "(1,1").contains("dimension"));
    }
}
