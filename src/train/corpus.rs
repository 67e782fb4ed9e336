//! Training text: files, the end of each held out, and token streams through them.
//!
//! A NUL byte ends a document, and so does the end of a file.

use super::material::{Material, Windows};
use super::vocabulary::Tokens;
use crate::error::{Error, ErrorKind, Result};
use crate::nn::random::Random;
use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;

/// Held-out share, one byte in so many, and its limit in bytes. Of files too short for that, one in
/// so many is held out.
const HELD_OUT: (usize, usize) = (50, 1 << 16);

/// Bytes that are tokenised at once.
const PIECE: usize = 4096;

/// Training files in memory.
pub struct Corpus {
    /// Training text of each file.
    texts: Vec<Vec<u8>>,
    /// Held-out text of each file.
    held_out: Vec<Vec<u8>>,
    digest: blake3::Hash,
}

impl Corpus {
    /// Reads `files`, which have `least` bytes to learn from or more.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]; [`ErrorKind::InvalidArgument`] where there is too little training data.
    pub fn read(files: &[PathBuf], least: usize) -> Result<Self> {
        let (mut texts, mut all_held_out) = (Vec::new(), Vec::new());
        let (mut hasher, mut short) = (blake3::Hasher::new(), 0);
        for path in files {
            let mut text =
                fs::read(path).map_err(|e| Error::io(format!("reading {}", path.display()), e))?;
            hasher.update(&(text.len() as u64).to_le_bytes()).update(&text);
            let (share, most) = HELD_OUT;
            let held_out = match text.len() / share {
                0 => {
                    short += 1;
                    if short % share == 0 { text.len() } else { 0 }
                }
                len => len.min(most),
            };
            all_held_out.push(text.split_off(text.len() - held_out));
            texts.push(text);
        }
        let corpus = Self { texts, held_out: all_held_out, digest: hasher.finalize() };
        let too_little = |message| Err(Error::new(ErrorKind::InvalidArgument, message));
        match corpus.len() {
            len if len < least => {
                too_little(format!("{len} bytes of training data, expected at least {least}"))
            }
            _ if corpus.held_out.iter().all(Vec::is_empty) => {
                too_little(format!("no file of {} bytes, of which some are held out", HELD_OUT.0))
            }
            _ => Ok(corpus),
        }
    }

    /// Returns the digest of the files' contents, in order.
    pub fn digest(&self) -> blake3::Hash {
        self.digest
    }

    /// Returns the number of training bytes.
    pub fn len(&self) -> usize {
        self.texts.iter().map(Vec::len).sum()
    }

    /// Returns the held-out text of each file.
    pub fn held_out(&self) -> &[Vec<u8>] {
        &self.held_out
    }

    /// Returns pieces from all over the texts, `len` bytes in all or all that there is.
    pub fn sample<'a>(&'a self, len: usize) -> Vec<&'a [u8]> {
        const PIECES: usize = 1024;
        let share = (len as f64 / self.len() as f64).min(1.0);
        let chunks = |text: &'a Vec<u8>| text.chunks(text.len().div_ceil(PIECES).max(1));
        let begin = |chunk: &'a [u8]| &chunk[..(chunk.len() as f64 * share).ceil() as usize];
        self.texts.iter().flat_map(chunks).map(begin).collect()
    }

    /// Starts a stream at a random place; one in two where a document or, in a file without NUL
    /// bytes, a line begins. With `crlf`, lines of one in eight end in CR-LF.
    pub fn stream(&self, random: &mut Random, crlf: bool) -> TokenStream<'_> {
        let mut at = random.below(self.len());
        let mut texts = self.texts.iter();
        let text = loop {
            match texts.next() {
                Some(text) if at < text.len() => break &text[..],
                Some(text) => at -= text.len(),
                None => unreachable!("below the length of all"),
            }
        };
        if random.below(2) == 0 {
            let rest = &text[at..];
            let end = rest.iter().position(|&b| b == 0);
            let end = end.or_else(|| rest.iter().position(|&b| b == b'\n'));
            at = end.map_or(0, |end| at + end + 1) % text.len();
        }
        while at > 0 && text[at] & 0xc0 == 0x80 {
            at -= 1;
        }
        let ends_in_crlf = random.below(8) == 0 && crlf;
        TokenStream { repeats: true, ends_in_crlf, ..TokenStream::new(text, at) }
    }
}

/// A corpus and its tokens.
pub struct Text<'a> {
    pub corpus: &'a Corpus,
    pub tokens: &'a Tokens,
}

impl Material for Text<'_> {
    fn digest(&self) -> blake3::Hash {
        self.corpus.digest()
    }

    fn stream<'a>(&'a self, random: &mut Random, crlf: bool) -> Box<dyn Windows + 'a> {
        let stream = self.corpus.stream(random, crlf);
        Box::new(TextWindows { stream, tokens: self.tokens })
    }

    fn held_out(&self) -> Vec<Box<dyn Windows + '_>> {
        let windows = |text| {
            let stream = TokenStream::new(text, 0);
            Box::new(TextWindows { stream, tokens: self.tokens }) as _
        };
        pieces(self.corpus.held_out()).into_iter().map(windows).collect()
    }

    fn bytes(&self, targets: &[u32]) -> f64 {
        self.tokens.bytes(targets) as f64
    }
}

/// Cuts texts into pieces of about the same length.
fn pieces(texts: &[Vec<u8>]) -> Vec<&[u8]> {
    const LEN: usize = 1 << 12;
    let of_text = |text: &'_ Vec<u8>| text.len().div_ceil(text.len().div_ceil(LEN).max(1)).max(1);
    texts.iter().flat_map(|text| text.chunks(of_text(text))).collect()
}

/// A stream with its tokens.
struct TextWindows<'a> {
    stream: TokenStream<'a>,
    tokens: &'a Tokens,
}

impl Windows for TextWindows<'_> {
    fn window(&mut self, n: usize) -> Vec<u32> {
        self.stream.window(self.tokens, n)
    }
}

/// Tokens of a text from some offset on, opened like a document.
pub struct TokenStream<'a> {
    text: &'a [u8],
    at: usize,
    /// Whether it restarts at the end.
    repeats: bool,
    /// Whether LF line endings become CR-LF.
    ends_in_crlf: bool,
    tokens: VecDeque<u32>,
}

impl<'a> TokenStream<'a> {
    /// Creates the stream of `text` from `at` on.
    pub fn new(text: &'a [u8], at: usize) -> Self {
        let tokens = VecDeque::from([0]);
        Self { text, at, repeats: false, ends_in_crlf: false, tokens }
    }

    /// Returns the next tokens and the one after them; fewer at the end.
    pub fn window(&mut self, tokens: &Tokens, n: usize) -> Vec<u32> {
        while self.tokens.len() <= n && self.at < self.text.len() {
            let rest = &self.text[self.at..];
            let len = piece(rest);
            match self.ends_in_crlf {
                true => tokens.encode(&with_crlf(&rest[..len]), &mut self.tokens),
                false => tokens.encode(&rest[..len], &mut self.tokens),
            }
            self.at += len;
            if self.at == self.text.len() && self.repeats {
                self.at = 0;
                self.tokens.push_back(0);
            }
        }
        let end = self.tokens.len().min(n + 1);
        let window: Vec<u32> = self.tokens.range(..end).copied().collect();
        self.tokens.drain(..end.saturating_sub(1));
        window
    }
}

/// Replaces LF by CR-LF, unless there are carriage returns already.
fn with_crlf(text: &[u8]) -> Vec<u8> {
    if text.contains(&b'\r') {
        return text.to_vec();
    }
    let mut lines = text.split(|&b| b == b'\n');
    let mut out = lines.next().unwrap_or_default().to_vec();
    for line in lines {
        out.extend(b"\r\n");
        out.extend(line);
    }
    out
}

/// Returns how much of `text` to take: up to a blank, where there is one.
fn piece(text: &[u8]) -> usize {
    if text.len() <= PIECE {
        return text.len();
    }
    let blank = text[..PIECE].iter().rposition(|&b| b == b' ' || b == b'\n');
    blank.filter(|&at| at > 0).unwrap_or(PIECE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus(text: &[u8]) -> Corpus {
        let digest = blake3::hash(text);
        Corpus { texts: vec![text.to_vec()], held_out: vec![Vec::new()], digest }
    }

    #[test]
    fn windows_follow_each_other() {
        let text = b"one two\nthree\0four five ".repeat(1000);
        let tokens = Tokens::for_sample(&[], 256).unwrap();
        let mut stream = TokenStream::new(&text, 8);
        let (mut all, mut last) = (Vec::<u32>::new(), 0);
        loop {
            let window = stream.window(&tokens, 100);
            assert_eq!(window[0], last);
            last = *window.last().unwrap();
            if window.len() == 1 {
                break;
            }
            all.extend(&window[1..]);
        }
        let expected: Vec<u32> = text[8..].iter().map(|&b| b.into()).collect();
        assert!(all == expected);
    }

    #[test]
    fn lines_may_end_in_crlf() {
        assert_eq!(with_crlf(b"a\n\nb"), b"a\r\n\r\nb");
        assert_eq!(with_crlf(b"\n"), b"\r\n");
        assert_eq!(with_crlf(b"a\r\nb\n"), b"a\r\nb\n");
    }

    #[test]
    fn streams_begin_everywhere_and_at_documents() {
        let text = b"abcdefghij\0klm\0".repeat(700);
        let corpus = corpus(&text);
        let mut random = Random::new(&[7]);
        let starts: Vec<usize> =
            (0..1000).map(|_| corpus.stream(&mut random, false).at % 15).collect();
        let count = |at| starts.iter().filter(|&&start| start == at).count();
        assert!((1..15).all(|at| count(at) > 10));
        assert!(count(11) > 250 && count(0) > 60, "{} {}", count(0), count(11));
    }

    #[test]
    fn a_sample_is_from_everywhere() {
        let text: Vec<u8> = (0..100_000).map(|i| (i / 1000) as u8).collect();
        let corpus = corpus(&text);
        let sample = corpus.sample(10_000).concat();
        assert!((9_000..11_000).contains(&sample.len()), "{}", sample.len());
        assert!((0..100).all(|byte| sample.contains(&byte)));
        assert_eq!(corpus.sample(1 << 20).concat(), text);
    }
}
