//! Equal-information windows: lossless, greedy, and the same by dictionary as by model.

use crate::random::Random;
use llmzip::Model;
use llmzip::equalinfo::{Coding, DEFAULT_SEGMENT, Dictionary, Layout, decode, encode};
use llmzip::models::{Tokenizer, TokenizerFile};
use llmzip::ops::Isa;
use llmzip::train::{self, Arch, Budget, Device, SeededModel, Size, Tokens, TrainOptions};
use std::path::Path;
use std::sync::OnceLock;

/// A network of bytes that learned this file for some steps: some of its bytes cost little, others much.
fn model() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/library/equalinfo.rs");
        let options = TrainOptions {
            arch: Arch::Gru,
            size: Size::Tiny,
            vocab_size: 256,
            budget: Budget::Steps(60),
            seed: 1,
            crlf: false,
            resume: false,
            checkpoint_s: 1e9,
            measures: 20,
            device: Device::Cpu,
            isa: Isa::detect(),
        };
        let model = folder.path().join("model");
        train::train(&options, None, &[path], &model, &mut |_| ()).unwrap();
        let model = Model::open(&model).unwrap();
        let _is_read = model.network();
        model
    })
}

/// One that learned nothing, and predicts nearly evenly.
fn even_model() -> Model {
    let seeded: SeededModel = "seed:gru:64:42".parse().unwrap();
    seeded.draw(Isa::detect(), u64::MAX).unwrap()
}

fn windows(bits: usize, token_bits: usize, segment_len: usize) -> Layout {
    Layout { coding: Coding::Windows(bits), token_bits, segment_len }
}

/// Nothing, one byte, runs whose bytes cost little, all bytes, noise, prose.
fn texts() -> Vec<Vec<u8>> {
    let mut random = Random::new(3);
    let mut texts =
        vec![vec![], vec![0], vec![255], vec![b'a'; 3000], vec![0; 700], vec![255; 700]];
    texts.push((0..=255).collect());
    texts.push((0..=255).rev().cycle().take(1500).collect());
    texts.push((0..4000).map(|_| random.bits() as u8).collect());
    texts.push(include_bytes!("equalinfo.rs")[..3000].to_vec());
    texts.push((0..2000).map(|_| [0, 1, 254, 255][random.bits() as usize % 4]).collect());
    texts
}

#[test]
fn windows_of_every_length_come_back() {
    let even = &even_model();
    let layouts = [
        windows(8, 8, DEFAULT_SEGMENT),
        windows(12, 12, 100),
        windows(16, 16, DEFAULT_SEGMENT),
        windows(16, 8, 1),
        windows(24, 12, 1000),
        windows(32, 16, 1000),
        windows(64, 16, DEFAULT_SEGMENT),
        windows(128, 8, 1000),
        windows(1000, 8, DEFAULT_SEGMENT),
        Layout { coding: Coding::Whole, token_bits: 8, segment_len: 1000 },
        Layout { coding: Coding::Whole, token_bits: 12, segment_len: usize::MAX },
        Layout { coding: Coding::Whole, token_bits: 16, segment_len: 7 },
    ];
    for (layout, model) in layouts.iter().flat_map(|&layout| [(layout, model()), (layout, even)]) {
        for text in texts() {
            let tokens = encode(model, &text, layout, &|_| ()).unwrap();
            assert_eq!(tokens.len(), text.len().div_ceil(layout.segment_len));
            let back = decode(model, &tokens, text.len(), layout, &|_| ()).unwrap();
            assert!(back == text, "{layout:?}: {} bytes", text.len());
        }
    }
}

/// Texts of every kind, at random: of all bytes, of few, of runs, of what the model learned, of words of the dictionary `words`, whose last
/// bytes cost no bits.
fn random_text(random: &mut Random, words: &[Vec<u8>]) -> Vec<u8> {
    let n = random.below(200);
    let learned = &include_bytes!("equalinfo.rs")[..3000];
    match random.below(6) {
        0 => (0..n).map(|_| random.bits() as u8).collect(),
        1 => (0..n).map(|_| [0, 1, b' ', 254, 255][random.below(5)]).collect(),
        2 => (0..n / 20).flat_map(|_| vec![random.bits() as u8; random.below(40)]).collect(),
        3 => learned[random.below(2000)..][..n].to_vec(),
        4 => (0..n / 8).flat_map(|_| words[random.below(words.len())].clone()).collect(),
        _ => (0..n % 2).map(|_| random.bits() as u8).collect(),
    }
}

/// 10,000 windows that texts of every kind were cut into, in segments of every length.
#[test]
fn random_texts_come_back() {
    let dictionary = Dictionary::build(model(), 16, &|_| ()).unwrap();
    let (mut random, even) = (Random::new(6), even_model());
    let (mut n_windows, mut n_empty, mut n_single) = (0, 0, 0);
    let mut seen = [false; 256];
    while n_windows < 10_000 {
        let text = random_text(&mut random, dictionary.words());
        text.iter().for_each(|&byte| seen[usize::from(byte)] = true);
        n_empty += usize::from(text.is_empty());
        n_single += usize::from(text.len() == 1);
        let lens = [
            (8, 8),
            (12, 12),
            (16, 16),
            (16, 8),
            (24, 12),
            (32, 16),
            (64, 16),
            (128, 8),
            (1000, 8),
        ];
        let (bits, token_bits) = lens[random.below(lens.len())];
        let segment_len = [1, 7, 90, DEFAULT_SEGMENT][random.below(4)];
        let layout = windows(bits, token_bits, segment_len);
        let model = if random.below(4) == 0 { &even } else { model() };
        let tokens = encode(model, &text, layout, &|_| ()).unwrap();
        n_windows += tokens.concat().len() * token_bits / bits;
        let back = decode(model, &tokens, text.len(), layout, &|_| ()).unwrap();
        assert!(back == text, "{layout:?}: {text:?}");
    }
    assert!(n_empty > 10 && n_single > 10 && seen == [true; 256], "{n_empty}, {n_single}");
}

/// A window alone becomes its text, and that one window again: the first in the text's interval, which may be another. A last byte that cost no
/// bits leaves it the same.
#[test]
fn windows_come_back_as_the_first_of_their_texts() {
    let mut random = Random::new(7);
    let (mut n_equal, mut n_others, mut n_tails) = (0, 0, 0);
    for _ in 0..100 {
        let layout = windows(32, 16, DEFAULT_SEGMENT);
        let window: Vec<u16> = (0..2).map(|_| random.bits() as u16).collect();
        let text_of =
            |window: &[u16], len| decode(model(), &[window.to_vec()], len, layout, &|_| ());
        let window_of = |text: &[u8]| encode(model(), text, layout, &|_| ()).unwrap().concat();
        let len = (1..DEFAULT_SEGMENT).find(|len| text_of(&window, len + 1).is_err()).unwrap();
        let text = text_of(&window, len).unwrap();
        let again = window_of(&text);
        assert!(again.len() == 2 && again <= window, "{window:?}, {again:?}");
        assert_eq!(text_of(&again, len).unwrap(), text);
        n_equal += usize::from(again == window);
        n_others += usize::from(again != window);
        n_tails += usize::from(len > 1 && window_of(&text[..len - 1]) == again);
    }
    assert!(n_equal > 5 && n_others > 5 && n_tails > 5, "{n_equal}, {n_others}, {n_tails}");
}

/// Text becomes the words that it is cut into by the dictionary, but for the last window, which a segment's end cuts off.
#[test]
fn a_dictionary_is_a_vocabulary() {
    for bits in [8, 12, 16] {
        let dictionary = Dictionary::build(model(), bits, &|_| ()).unwrap();
        let tokens = Tokens::of_words(dictionary.words(), "m1.windows".into()).unwrap();
        let missing = (0..=255u8).filter(|&byte| !dictionary.words().contains(&vec![byte])).count();
        assert_eq!(tokens.len(), 1 + dictionary.n_words() + missing);
        let (tokenizer, vocabulary) =
            Tokenizer::load(TokenizerFile::Json(tokens.json()), tokens.len()).unwrap();
        assert_eq!(vocabulary.len() + 1, tokens.len());
        for text in texts() {
            let cut = dictionary.encode(&text, usize::MAX).unwrap();
            let whole = cut.split_last().map_or(&[][..], |(_, whole)| whole);
            let words: Vec<&[u8]> =
                whole.iter().map(|&window| &dictionary.words()[usize::from(window)][..]).collect();
            let ranks = tokenizer.encode(&text, &vocabulary);
            let found: Vec<&[u8]> = ranks.iter().map(|&rank| vocabulary.bytes(rank)).collect();
            assert!(found.starts_with(&words), "{bits} bits");
            assert!(found.concat() == text);
        }
    }
}

/// 10,000 windows that no text was cut into: each stands for some text.
#[test]
fn every_window_stands_for_a_text() {
    let mut random = Random::new(4);
    for (bits, n) in [(16, 4000), (32, 3000), (64, 3000)] {
        let tokens: Vec<u16> = (0..n * bits / 16).map(|_| random.bits() as u16).collect();
        // What follows the first byte of each is cut off at a segment's end.
        let text = decode(model(), &[tokens], n, windows(bits, 16, 1), &|_| ()).unwrap();
        assert_eq!(text.len(), n);
    }
}

/// The word of each window is cut into that window, into the first of its word's, or into one of a longer word.
#[test]
fn words_are_cut_into_their_first_window() {
    let dictionary = Dictionary::build(model(), 16, &|_| ()).unwrap();
    let (mut random, mut n_equal) = (Random::new(5), 0);
    for _ in 0..2000 {
        let window = random.bits() as u16;
        let word = &dictionary.words()[usize::from(window)];
        let text = [word, &b"-----"[..]].concat();
        let again = dictionary.encode(&text, text.len()).unwrap()[0];
        let first = &dictionary.words()[usize::from(again)];
        assert!(first.starts_with(word), "{window}");
        assert!(again <= window || first.len() > word.len(), "{window}: not the first");
        n_equal += usize::from(first == word);
    }
    assert!(n_equal > 1000, "{n_equal}");
}

#[test]
fn a_dictionary_cuts_as_the_model_does() {
    for bits in [8, 12, 16] {
        let built = Dictionary::build(model(), bits, &|_| ()).unwrap();
        let dictionary = Dictionary::parse(&built.to_bytes()).unwrap();
        assert_eq!(dictionary.words(), built.words());
        assert!(dictionary.n_words() >= 256 && dictionary.words().len() == 1 << bits);
        for byte in 0..=255u8 {
            let cut = dictionary.encode(&[byte], 100).unwrap();
            assert_eq!(dictionary.decode(&cut, 1, 100).unwrap(), [byte]);
        }
        for text in texts() {
            for segment_len in [90, DEFAULT_SEGMENT] {
                let cut = dictionary.encode(&text, segment_len).unwrap();
                assert!(dictionary.decode(&cut, text.len(), segment_len).unwrap() == text);
                if bits == 8 {
                    assert_eq!(cut.len(), text.len());
                } else {
                    let layout = windows(bits, bits, segment_len);
                    assert!(cut == encode(model(), &text, layout, &|_| ()).unwrap().concat());
                }
            }
        }
    }
}

#[test]
fn longer_windows_hold_more() {
    let text = &texts()[9];
    let n_bits = |bits: usize| {
        let layout = windows(bits, 8, DEFAULT_SEGMENT);
        8 * encode(model(), text, layout, &|_| ()).unwrap().concat().len()
    };
    let whole = Layout { coding: Coding::Whole, token_bits: 8, segment_len: DEFAULT_SEGMENT };
    let whole = 8 * encode(model(), text, whole, &|_| ()).unwrap().concat().len();
    let [short, middle, long] = [16, 64, 512].map(n_bits);
    assert!(short > middle && middle > long && long > whole, "{short}, {middle}, {long}, {whole}");
}

#[test]
fn bad_input_is_named() {
    let said = |error: llmzip::Error| error.to_string();
    let text = b"text";
    for (layout, expected) in [
        (windows(7, 8, 9), "windows of 7 bits"),
        (windows(20, 16, 9), "not whole tokens"),
        (windows(16, 9, 9), "tokens of 9 bits"),
        (windows(16, 16, 0), "segments of 0"),
    ] {
        let error = said(encode(model(), text, layout, &|_| ()).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
    let builtin = Model::builtin().unwrap();
    let layout = windows(32, 16, 100);
    let error = said(encode(&builtin, text, layout, &|_| ()).unwrap_err());
    assert!(error.contains("recurrent model whose tokens are the 256 bytes"), "{error}");

    let tokens = encode(model(), text, layout, &|_| ()).unwrap().concat();
    let undone =
        |tokens: Vec<u16>, len| said(decode(model(), &[tokens], len, layout, &|_| ()).unwrap_err());
    assert!(undone(tokens[1..].to_vec(), 4).contains("cut off"));
    assert!(undone(tokens.clone(), 400).contains("not enough windows"));
    assert!(undone([&tokens[..], &[1, 2]].concat(), 4).contains("more windows"));
    let of_8 = windows(32, 8, 100);
    let error = said(decode(model(), &[vec![256; 4]], 4, of_8, &|_| ()).unwrap_err());
    assert!(error.contains("more than 8 bits"), "{error}");

    let dictionary = Dictionary::build(model(), 8, &|_| ()).unwrap();
    assert!(said(dictionary.decode(&[256], 1, 9).unwrap_err()).contains("not of 8 bits"));
    assert!(said(dictionary.decode(&[], 1, 9).unwrap_err()).contains("not enough"));
    assert!(said(dictionary.decode(&[1, 2], 1, 9).unwrap_err()).contains("more tokens"));
    let file = dictionary.to_bytes();
    for at in (0..file.len()).step_by(7) {
        let mut damaged = file.clone();
        damaged[at] ^= 4;
        assert!(Dictionary::parse(&damaged).is_err(), "byte {at}");
        assert!(Dictionary::parse(&file[..at]).is_err(), "cut to {at}");
    }
    assert!(Dictionary::build(model(), 17, &|_| ()).is_err());
}
