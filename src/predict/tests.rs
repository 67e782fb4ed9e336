//! Tests of the whole predictor: what is coded must never change unnoticed, and must be worth
//! coding.

use super::*;

fn config(tier: u8, with_lm: bool, n_lanes: u32, lane_len: usize) -> MixingConfig {
    MixingConfig { tier, table_log2: 22, with_lm, n_lanes, lane_len: lane_len as u32 }
}

/// Returns bytes of a simple generator, the same everywhere.
fn noise(n: usize) -> Vec<u8> {
    let mut x = 0x2545_F491_4F6C_DD1D_u64;
    let step = |_| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    };
    (0..n).map(step).collect()
}

/// Returns words, numbers and lines with repeats near and far.
fn prose(n: usize) -> Vec<u8> {
    let words =
        ["mixing ", "context ", "the ", "of ", "a model ", "12.5 ", "lane, ", "token.\n", "Bits "];
    let words = noise(n)
        .into_iter()
        .map(|x| words[((x as usize * x as usize) >> 8) % words.len()].as_bytes());
    words.flatten().copied().take(n).collect()
}

fn cost_bits(p: u16, bit: bool) -> f64 {
    assert!(p >= 1);
    16.0 - (if bit { p as f64 } else { 65536.0 - p as f64 }).log2()
}

/// Codes `bytes` without a language model: bytes it would take, and a hash of all probabilities.
fn code(bytes: &[u8], tier: u8) -> (f64, u32) {
    code_by(Isa::detect(), bytes, tier)
}

fn code_by(isa: Isa, bytes: &[u8], tier: u8) -> (f64, u32) {
    let mut mixed = Mixed::new(isa, &config(tier, false, 1, bytes.len()));
    let (mut bits, mut hash) = (0.0, 0);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1 == 1)) {
        let p = mixed.bit(0, None);
        bits += cost_bits(p, bit);
        hash = hash::mix(hash, p as u32);
        mixed.update(bit);
    }
    (bits / 8.0, hash)
}

/// Codes `bytes` in lanes, in tokens of 1 to 4 bytes, under a language model that says `lm(truth)`
/// of every decision and now and then is certain.
fn code_tokens(bytes: &[u8], n_lanes: usize, lm: fn(bool) -> u16) -> (f64, u32) {
    let lane_len = bytes.len().div_ceil(n_lanes);
    let mut mixed = Mixed::new(Isa::detect(), &config(3, true, n_lanes as u32, lane_len));
    let mut slices: Vec<&[u8]> = bytes.chunks(lane_len).collect();
    let (mut bits, mut hash) = (0.0, 0);
    let mut learn = |mixed: &mut Mixed, p: u16, truth: bool| {
        bits += cost_bits(p, truth);
        hash = hash::mix(hash, p as u32);
        mixed.update(truth);
    };
    while slices.iter().any(|slice| !slice.is_empty()) {
        for (lane, slice) in slices.iter_mut().enumerate().filter(|(_, slice)| !slice.is_empty()) {
            let (token, rest) = slice.split_at((1 + slice[0] as usize % 4).min(slice.len()));
            *slice = rest;
            for (i, &byte) in token.iter().enumerate() {
                mixed.force_bit(lane, byte >> 7 == 1);
                for bit in (0..7).rev().map(|k| byte >> k & 1 == 1) {
                    let p = mixed.bit(lane, Some(lm(bit)));
                    learn(&mut mixed, p, bit);
                }
                let ends = i + 1 == token.len();
                if i < 3 {
                    let p = mixed.end(lane, lm(ends));
                    learn(&mut mixed, p, ends);
                } else {
                    mixed.force_end(lane);
                }
            }
        }
    }
    (bits / 8.0, hash)
}

/// Pins the coded probabilities: any change of these hashes is a change of the format
/// (docs/format.md).
#[test]
#[cfg_attr(miri, ignore = "thousands of bytes take it too long")]
fn coded_probabilities_have_not_changed() {
    let text = [prose(6000), noise(500), vec![7; 1000], prose(3000)].concat();
    for isa in Isa::available() {
        let hashes = [1, 2, 3, 4].map(|tier| code_by(isa, &text, tier).1);
        assert_eq!(hashes, [2151799240, 3986979810, 2806674621, 157484562], "{isa:?}");
    }
    let good = |truth| if truth { 50000 } else { 15000 };
    let mixed = [code_tokens(&text, 1, good).1, code_tokens(&text, 7, good).1];
    assert_eq!(mixed, [1861577764, 1124078769]);
}

#[test]
#[cfg_attr(miri, ignore = "thousands of bytes take it too long")]
fn two_runs_agree() {
    let text = prose(2000);
    assert_eq!(code(&text, 3), code(&text, 3));
}

#[test]
#[cfg_attr(miri, ignore = "thousands of bytes take it too long")]
fn noise_hardly_grows() {
    for tier in 1..=4 {
        let bits_per_byte = code(&noise(100_000), tier).0 * 8.0 / 100_000.0;
        assert!(bits_per_byte <= 8.004, "tier {tier}: {bits_per_byte}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "thousands of bytes take it too long")]
fn equal_bytes_are_nearly_free() {
    for tier in 1..=4 {
        let bytes = code(&[b'a'; 100_000], tier).0;
        assert!(bytes <= 50.0, "tier {tier}: {bytes}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "thousands of bytes take it too long")]
fn repeats_are_found_by_every_tier() {
    let once = noise(10_000);
    for tier in 1..=4 {
        let bytes = code(&once.repeat(3), tier).0;
        assert!(bytes < 10_250.0, "tier {tier}: {bytes}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "thousands of bytes take it too long")]
fn a_lane_profits_from_what_others_have_read() {
    let once = noise(3000);
    let bytes = code_tokens(&once.repeat(2), 2, |_| 32768).0;
    assert!(bytes < 4500.0, "{bytes}");
}

#[test]
fn a_good_language_model_is_trusted_from_the_start() {
    let bytes = code_tokens(&noise(200), 1, |truth| if truth { 64000 } else { 1536 }).0;
    // 200 bytes of 7 bits and at most 3 ends, 0.034 bits each.
    assert!(bytes < 10.0 * 0.85, "{bytes}");
}

#[test]
#[cfg_attr(miri, ignore = "thousands of bytes take it too long")]
fn extreme_language_models_do_no_harm() {
    let text = prose(3000);
    for lm in [|truth| if truth { 65535 } else { 0 }, |truth| if truth { 0 } else { 65535 }] {
        assert!(code_tokens(&text, 3, lm).0 < 3000.0);
    }
}
