//! Parsing and formatting of sizes.

use crate::archive::{BLOCK_UNIT, MAX_BLOCK_LEN};
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

pub use crate::explain::{counted, grouped};

/// Parses a number of bytes, optionally followed by K, M, G, KiB, MiB or GiB.
///
/// # Errors
/// A message for the user.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => {
            return Err("expected a number, optionally followed by K, M, G, KiB, MiB or GiB".into());
        }
    };
    let number: u64 = number.parse().map_err(|_| "expected a number of bytes".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "too large".into())
}

/// Digits of a number that is no limit which anybody meets.
const ENDLESS: usize = 10;

/// Returns a parser of numbers in `range`, whose message says what is expected.
pub fn number<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| match (range.start().to_string(), range.end().to_string()) {
            (least, most) if most.len() >= ENDLESS => format!("expected a number, {least} or more"),
            (least, most) => format!("expected a number from {least} to {most}"),
        })
    }
}

/// Parses the bits of a block; returns its bytes.
///
/// # Errors
/// A message for the user.
pub fn parse_block_bits(text: &str) -> Result<u32, String> {
    let (least, most) = (8 * BLOCK_UNIT, 8 * MAX_BLOCK_LEN);
    let bits = text.parse().ok();
    let bits =
        bits.filter(|&bits: &u32| (least..=most).contains(&bits) && bits.is_multiple_of(least));
    bits.map(|bits| bits / 8).ok_or_else(|| {
        format!("expected a multiple of {least} up to {most}: whole sectors of {BLOCK_UNIT} bytes")
    })
}

/// Parses BEGIN..END, two numbers as of [`parse_size`]; either may be missing.
///
/// # Errors
/// A message for the user.
pub fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let (begin, end) =
        text.split_once("..").ok_or("expected BEGIN..END, for example 1000..2000")?;
    let number = |text: &str, missing| match text {
        "" => Ok(missing),
        _ => parse_size(text),
    };
    let (begin, end) = (number(begin, 0)?, number(end, u64::MAX)?);
    if begin > end {
        return Err("it ends before it begins".into());
    }
    Ok(begin..end)
}

/// Returns original size over compressed size; `None` for an empty archive.
pub fn ratio(plain_len: u64, archive_len: u64) -> Option<f64> {
    (archive_len > 0).then(|| plain_len as f64 / archive_len as f64)
}

/// Returns bits of archive per byte of content; `None` for empty content.
pub fn bits_per_byte(plain_len: u64, archive_len: u64) -> Option<f64> {
    (plain_len > 0).then(|| archive_len as f64 * 8.0 / plain_len as f64)
}

/// Formats `figure` with `decimals`, or as a dash.
pub fn figure(figure: Option<f64>, decimals: usize) -> String {
    figure.map_or("-".into(), |figure| format!("{figure:.decimals$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(parse_range("10..1k"), Ok(10..1024));
        assert_eq!(parse_range("..7"), Ok(0..7));
        assert_eq!(parse_range("7.."), Ok(7..u64::MAX));
        assert!(["7", "7..6", "-1..2", "a..b", "1...2"].iter().all(|t| parse_range(t).is_err()));
    }

    #[test]
    fn sizes_are_read() {
        for (text, size) in [("0", 0), ("17", 17), ("2K", 2048), ("1MiB", 1 << 20), ("3g", 3 << 30)]
        {
            assert_eq!(parse_size(text), Ok(size));
        }
        for text in ["", "K", "-1", "1.5M", "1X", "99999999999999999999", "18446744073709551615K"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
