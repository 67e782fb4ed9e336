//! Vocabularies: the 256 bytes, a byte-level BPE trained on the corpus, or words that something else found. Token 0 opens
//! every document: the byte 0, or `<|endoftext|>`.

use crate::error::{Error, ErrorKind, Result};
use crate::models::{Tokenizer, TokenizerFile, Vocabulary, stand_ins};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::{ModelWrapper, TrainerWrapper};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer as HfTokenizer};

/// Maximum bytes of text that a BPE is trained on.
pub const SAMPLE_LEN: usize = 8 << 20;

/// The token that opens documents in a BPE.
const MARK: &str = "<|endoftext|>";

/// Tokens and their tokenizer.
pub struct Tokens {
    /// `tokenizer.json`
    json: Vec<u8>,
    /// Their number, or the file that they are of: for the model card.
    pub(super) label: String,
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    /// Bytes of the token, by id; 0 for tokens that are never coded.
    lens: Vec<usize>,
}

impl Tokens {
    /// Creates a vocabulary of `size` tokens, trained on `sample`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where the sample does not yield so many.
    pub fn for_sample(sample: &[&[u8]], size: usize) -> Result<Self> {
        let json = match size {
            256 => bytes(),
            _ => byte_pairs(sample, size)?,
        };
        Self::parse(json, size)
    }

    /// Creates the vocabulary of `words`, in any order, and of the bytes that are none of them: text becomes the longest that it
    /// begins with, again and again. `label` is for the model card.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] for words of over 4 GiB, or 2^20 of them.
    pub fn of_words(words: &[Vec<u8>], label: String) -> Result<Self> {
        let bytes = (0..=255).map(|byte| vec![byte]);
        let words = words.iter().filter(|word| !word.is_empty() && **word != MARK.as_bytes());
        let words: BTreeSet<Vec<u8>> = words.cloned().chain(bytes).collect();
        let characters = stand_ins();
        let spelled = |word: Vec<u8>| word.iter().map(|&b| characters[usize::from(b)]).collect();
        let vocab: BTreeMap<String, usize> = std::iter::once(MARK.to_owned())
            .chain(words.into_iter().map(spelled))
            .zip(0..)
            .collect();
        let size = vocab.len();
        let byte_level = byte_level();
        let mark = json!({
            "id": 0, "content": MARK, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false
        });
        let json = json!({
            "version": "1.0",
            "added_tokens": [mark],
            "pre_tokenizer": byte_level,
            "decoder": byte_level,
            "model": {
                "type": "WordPiece", "unk_token": MARK, "continuing_subword_prefix": "",
                "max_input_chars_per_word": u32::MAX, "vocab": vocab
            }
        });
        let tokens = Self::parse((json.to_string() + "\n").into_bytes(), size)?;
        Ok(Self { label, ..tokens })
    }

    /// Returns the `tokenizer.json`.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// Number of tokens.
    #[allow(clippy::len_without_is_empty, reason = "never empty: all bytes are tokens")]
    pub fn len(&self) -> usize {
        self.lens.len()
    }

    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] where it is invalid.
    pub fn parse(json: Vec<u8>, size: usize) -> Result<Self> {
        let (tokenizer, vocabulary) = Tokenizer::load(TokenizerFile::Json(&json), size)?;
        let len = |id| vocabulary.rank(id).map_or(0, |rank| vocabulary.bytes(rank).len());
        let lens = (0..size as u32).map(len).collect();
        Ok(Self { json, label: size.to_string(), tokenizer, vocabulary, lens })
    }

    /// Appends the ids of `text`'s tokens to `out`; a NUL byte is token 0.
    pub fn encode(&self, text: &[u8], out: &mut impl Extend<u32>) {
        for (i, part) in text.split(|&byte| byte == 0).enumerate() {
            if i > 0 {
                out.extend([0]);
            }
            let ranks = self.tokenizer.encode(part, &self.vocabulary);
            out.extend(ranks.into_iter().map(|rank| self.vocabulary.id(rank)));
        }
    }

    /// Returns the total bytes of `ids`.
    pub fn bytes(&self, ids: &[u32]) -> usize {
        ids.iter().map(|&id| self.lens[id as usize]).sum()
    }
}

/// Returns a pre-tokenizer or decoder that spells text in characters for bytes, and splits nothing.
fn byte_level() -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false})
}

/// Returns a tokenizer without merges, whose ids are the bytes.
fn bytes() -> Vec<u8> {
    let vocab: HashMap<String, usize> =
        stand_ins().into_iter().map(String::from).zip(0..).collect();
    let byte_level = byte_level();
    let json = json!({
        "version": "1.0",
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": { "type": "BPE", "vocab": vocab, "merges": [] }
    });
    let mut json = json.to_string().into_bytes();
    json.push(b'\n');
    json
}

/// Trains a byte-level BPE of `size` tokens (Sennrich et al., 2016).
fn byte_pairs(sample: &[&[u8]], size: usize) -> Result<Vec<u8>> {
    let failed = |e: tokenizers::Error| {
        Error::new(ErrorKind::InvalidArgument, format!("training the vocabulary: {e}"))
    };
    let trainer = BpeTrainer::builder()
        .vocab_size(size)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(vec![AddedToken::from(MARK, true)])
        .build();
    let mut tokenizer = HfTokenizer::new(ModelWrapper::from(BPE::default()));
    let byte_level = ByteLevel::new(false, true, true);
    tokenizer.with_pre_tokenizer(Some(byte_level)).with_decoder(Some(byte_level));
    let texts = sample.iter().map(|text| String::from_utf8_lossy(text));
    tokenizer.train(&mut TrainerWrapper::from(trainer), texts).map_err(failed)?;
    let found = tokenizer.get_vocab_size(true);
    if found != size {
        let message = format!(
            "the data yield {found} tokens, --vocab is {size}: use fewer tokens or more data"
        );
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    tokenizer.to_string(false).map(String::into_bytes).map_err(failed)
}
