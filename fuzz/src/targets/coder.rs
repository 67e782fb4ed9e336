//! The range coder, and tokens as decisions: any symbols with any probabilities come back; any bytes
//! decode to something.

use super::fields::{Fields, counted};
use llmzip::codec::range_coder::{RangeDecoder, RangeEncoder};
use llmzip::codec::token_trie::{BitCoder, TokenTrie, Walk};
use llmzip::models::{Token, TokenKind, Vocabulary};

pub fn run(input: &[u8]) {
    let mut fields = Fields(input);
    if fields.u8() & 1 == 0 { bits(fields) } else { tokens(fields) }
}

/// A probability that can be coded with.
fn probability(number: u16) -> u16 {
    number.max(1)
}

fn bits(mut fields: Fields<'_>) {
    let bytes = fields.counted();
    let mut decisions = Vec::new();
    while !fields.is_empty() {
        decisions.push((fields.u8() & 1 == 1, probability(fields.u16())));
    }
    check_bits(&decisions);
    // What any bytes say is what an encoder would have written.
    let mut decoder = RangeDecoder::new(bytes);
    decisions.iter_mut().for_each(|(bit, p1)| *bit = decoder.code(false, *p1));
    check_bits(&decisions);
}

fn check_bits(decisions: &[(bool, u16)]) {
    let mut encoder = RangeEncoder::default();
    decisions.iter().for_each(|&(bit, p1)| _ = encoder.code(bit, p1));
    let bytes = encoder.finish();
    assert!(bytes.last() != Some(&0), "a zero at the end is not needed");
    let mut decoder = RangeDecoder::new(&bytes);
    assert!(decisions.iter().all(|&(bit, p1)| decoder.code(!bit, p1) == bit));
    decoder.expect_end(decisions.len()).expect("no byte is left");
}

fn tokens(mut fields: Fields<'_>) {
    let mut tokens: Vec<Token> = (0..=255).map(|byte| token(vec![byte], byte.into())).collect();
    for id in 256..256 + u32::from(fields.u8() % 32) {
        let len = usize::from(fields.u8() % 8);
        tokens.push(token(fields.bytes(len).to_vec(), id));
    }
    let vocabulary = Vocabulary::new(tokens).expect("all bytes have a token");
    let trie = TokenTrie::new(&vocabulary);
    let bytes = fields.counted();
    let cumulative = cumulative(&vocabulary, fields.counted());
    let mut ranks = Vec::new();
    while !fields.is_empty() {
        ranks.push(u32::from(fields.u16()) % vocabulary.len() as u32);
    }
    let room = ranks.iter().map(|&rank| vocabulary.bytes(rank).len()).sum();

    let (mut encoder, mut left) = (RangeEncoder::default(), room);
    for &rank in &ranks {
        assert_eq!(walk(&trie, &cumulative, left, &mut encoder, Some(rank)), Some(rank));
        left -= vocabulary.bytes(rank).len();
    }
    let coded = encoder.finish();
    let (mut decoder, mut left) = (RangeDecoder::new(&coded), room);
    for &rank in &ranks {
        assert_eq!(walk(&trie, &cumulative, left, &mut decoder, None), Some(rank));
        left -= vocabulary.bytes(rank).len();
    }
    decoder.expect_end(room).expect("no byte is left");

    let (mut decoder, mut left) = (RangeDecoder::new(bytes), room);
    while left > 0 {
        let Some(rank) = walk(&trie, &cumulative, left, &mut decoder, None) else { break };
        left = left.checked_sub(vocabulary.bytes(rank).len()).expect("tokens fit");
    }
}

fn token(bytes: Vec<u8>, id: u32) -> Token {
    Token { bytes, kind: TokenKind::Ordinary, id }
}

/// Counts as `numbers` say, in turn: [V + 1].
fn cumulative(vocabulary: &Vocabulary, numbers: &[u8]) -> Vec<u32> {
    let mut cumulative = vec![0];
    for rank in 0..vocabulary.len() {
        let shift = numbers.get(rank % numbers.len().max(1)).map_or(0, |number| number % 20);
        cumulative.push(cumulative[rank] + (1 << shift));
    }
    cumulative
}

/// Codes the token of `rank`, or decodes one.
fn walk(
    trie: &TokenTrie<'_>,
    cumulative: &[u32],
    room: usize,
    coder: &mut impl BitCoder,
    rank: Option<u32>,
) -> Option<u32> {
    let mut walk = Walk::new(trie, cumulative, room);
    while let Some(decision) = walk.question() {
        let towards = rank.is_some_and(|rank| walk.outcome_towards(rank));
        walk.answer(match decision.forced() {
            Some(only) => only,
            None => coder.code(towards, decision.p1 as u16),
        });
    }
    walk.token()
}

pub fn seeds() -> Vec<Vec<u8>> {
    let decisions: Vec<u8> = (0..100u8).flat_map(|n| [n, n.wrapping_mul(37), n / 2]).collect();
    let words = [2, 3, b't', b'h', b'e', 2, b't', b'h'];
    let ranks: Vec<u8> = (0..40u16).flat_map(|n| (7 * n).to_le_bytes()).collect();
    vec![
        [&[0][..], &counted(b"any bytes"), &decisions].concat(),
        [&[0][..], &counted(&[0xFF; 40]), &[0, 0xFF, 0xFF].repeat(60)].concat(),
        [&[1][..], &words, &counted(b"any bytes"), &counted(&[1, 5, 19, 3]), &ranks].concat(),
    ]
}
