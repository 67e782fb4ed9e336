//! Coded bytes of a chunk, without the archive and its checksums around them.

use super::fields::Fields;
use super::models::{STUB, TINY};
use llmzip::ErrorKind;
use llmzip::codec::{
    self, ChunkOptions, Codec, Coded, Coding, MAX_LANES, Method, Parameters, Prefix,
};
use llmzip::models::{Context, Learning, LearningKind};

const METHODS: [Method; 3] = [Method::Model, Method::Mixed, Method::Adaptive];

pub fn run(input: &[u8]) {
    let mut fields = Fields(input);
    let model = if fields.u8() & 1 == 0 { &*STUB } else { &*TINY };
    let (len, overlap) = (u32::from(fields.u8()) + 1, u32::from(fields.u8()));
    let prefix_len = usize::from(fields.u8() % 16);
    let text = fields.bytes(prefix_len);
    let table = fields.u8();
    let kind = match table % 3 {
        0 => LearningKind::Head,
        1 => LearningKind::Adapter,
        _ => LearningKind::All,
    };
    let parameters = Parameters {
        context: (len > 1).then_some(Context { len, overlap: overlap % len }),
        table_log2: 10 + table % 17,
        learning: (table >= 170).then_some(Learning {
            kind,
            tokens_log2: 4 + table % 9,
            rate: 1000,
        }),
    };
    let codec = Codec { parameters: &parameters, ..Codec::new(model, 2) };
    let prefix = prefix(codec, text);
    let codec = Codec { prefix: &prefix, ..codec };
    let (first, second) = (header(&mut fields), header(&mut fields));
    let (bytes, rest) = (fields.counted(), fields.0);
    let codes = [(first, bytes), (second, rest)]
        .map(|(code, payload)| Coded { payload: payload.into(), ..code });
    let decoded = codec::decode_all(codec, &codes);
    assert_eq!(decoded.len(), codes.len());
    for (code, together) in codes.iter().zip(decoded) {
        let alone = codec::decode(Codec { threads: 1, ..codec }, code);
        match (together, alone) {
            (Ok(together), Ok(alone)) => {
                assert_eq!(together.len(), code.plain_len);
                assert!(together == alone, "what is decoded beside it decides");
            }
            // What is wrong with one of several is wrong with all that were asked for together.
            (Err(e), _) => assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}"),
            (Ok(_), Err(e)) => panic!("only alone: {e}"),
        }
    }
}

/// The prefix `text`, as it comes back from its code.
fn prefix(codec: Codec<'_>, text: &[u8]) -> Prefix {
    let options = ChunkOptions { level: 6, lanes: None, mix: true };
    if text.is_empty() {
        return Prefix::default();
    }
    let Ok((coded, _)) = Prefix::encode(codec, text, &options) else { return Prefix::default() };
    Prefix::decode(codec, &coded).unwrap_or_default()
}

/// Method, lanes and length.
fn header(fields: &mut Fields<'_>) -> Coded<'static> {
    let method = METHODS[usize::from(fields.u8()) % METHODS.len()];
    // One more than there may be, now and then.
    let lanes = fields.u8() % (MAX_LANES + 2);
    let plain_len = usize::from(fields.u16() % 256) + 1;
    Coded { coding: Coding { method, lanes }, plain_len, payload: Vec::new().into() }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let plain = b"The keeper and the lighthouse wrote: the sea and the ships and the fog\n";
    let len = (plain.len() as u16 - 1).to_le_bytes();
    let mut seeds = Vec::new();
    for (model, [context, overlap]) in [(&*STUB, [0, 0]), (&*TINY, [31, 8])] {
        let context_of =
            |len: u8, overlap: u8| Context { len: u32::from(len) + 1, overlap: overlap.into() };
        let parameters = Parameters {
            context: (context > 0).then_some(context_of(context, overlap)),
            ..Parameters { table_log2: 20, ..Parameters::DEFAULT }
        };
        let codec = Codec { parameters: &parameters, ..Codec::new(model, 1) };
        let text: &[u8] = if context == 0 { b"the fog" } else { b"" };
        let prefix = prefix(codec, text);
        let codec = Codec { prefix: &prefix, ..codec };
        for (level, lanes, mix) in [(6, 1, true), (6, 3, false), (1, 1, true), (9, 2, true)] {
            let options = ChunkOptions { level, lanes: Some(lanes), mix };
            let coded = codec::encode(codec, plain, &options).expect("a text can be encoded");
            let method = METHODS.iter().position(|&method| method == coded.coding.method);
            let header = [method.expect("it is coded") as u8, coded.coding.lanes, len[0], len[1]];
            let mut seed = vec![(context > 0).into(), context, overlap, text.len() as u8];
            seed.extend(text.iter().chain(&[10]));
            seed.extend(header.iter().chain(&header));
            seed.extend(super::fields::counted(&coded.payload));
            seed.extend(coded.payload.iter());
            seeds.push(seed);
        }
    }
    seeds
}
