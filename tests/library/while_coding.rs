//! Models that learn while they code.

use crate::family::{FAMILIES, folder};
use crate::random::Random;
use llmzip::archive::{self, Options};
use llmzip::codec::{self, ChunkOptions, Codec, Parameters};
use llmzip::models::{
    Context, Learner, Learning, LearningKind, LearningSession, Model, Row, Session, Steering,
};
use llmzip::nn::attention::AttentionLayer;
use llmzip::nn::decoder::AdapterParameters;
use llmzip::nn::parameter::{Gradients, Parameter, zeros};
use llmzip::nn::random::Random as Drawn;
use llmzip::nn::shape::LayerPart;
use llmzip::ops::{AttentionShape, Isa};
use llmzip::predict::cdf::cumulative_counts;
use llmzip::{ErrorKind, Result};
use std::sync::Arc;

/// The only family whose window slides, and the others.
const SLIDING: &str = "mistral-window";
const RECURRENT: [&str; 2] = ["gru", "lstm"];

fn families() -> impl Iterator<Item = &'static str> {
    FAMILIES.into_iter().chain([SLIDING])
}

fn starts_afresh(name: &str) -> bool {
    name != SLIDING && !RECURRENT.contains(&name)
}

fn open(name: &str, isa: Isa) -> Model {
    Model::open_on(folder(name).path(), isa).unwrap()
}

fn text() -> Vec<u8> {
    b"the cat and the hat in the box, again and again.\n".repeat(20)
}

/// A step every sixteen tokens.
fn learning(kind: LearningKind) -> Learning {
    Learning { kind, tokens_log2: 4, rate: 3000 }
}

/// What of a family can learn.
fn kinds(name: &str) -> impl Iterator<Item = LearningKind> + use<> {
    let adapter = (name == SLIDING).then_some(LearningKind::Adapter);
    let all = (!starts_afresh(name)).then_some(LearningKind::All);
    [LearningKind::Head].into_iter().chain(adapter).chain(all)
}

/// Each family and what of it can learn.
fn cases() -> impl Iterator<Item = (&'static str, Parameters)> {
    families().flat_map(|name| {
        let parameters = move |kind| Parameters {
            context: starts_afresh(name).then_some(Context::new(24)),
            learning: Some(learning(kind)),
            ..Parameters::default()
        };
        kinds(name).map(move |kind| (name, parameters(kind)))
    })
}

/// The same bits by every instruction set and number of threads, and others than without learning.
#[test]
fn what_learns_round_trips() {
    for (name, parameters) in cases() {
        let model = open(name, Isa::detect());
        let codec = Codec { parameters: &parameters, ..Codec::new(&model, 1) };
        let options = ChunkOptions { level: 9, lanes: Some(3), mix: false };
        let coded = codec::encode(codec, &text(), &options).unwrap();
        for threads in [1, 3, 8] {
            let plain = codec::decode(Codec { threads, ..codec }, &coded).unwrap();
            assert!(plain == text(), "{name}, {threads} threads");
        }
        let fixed = Parameters { learning: None, ..parameters };
        let fixed =
            codec::encode(Codec { parameters: &fixed, ..codec }, &text(), &options).unwrap();
        assert!(coded.payload.len() < fixed.payload.len(), "{name} learns nothing");
        for (threads, isa) in Isa::available().into_iter().enumerate() {
            let model = open(name, isa);
            let codec = Codec { parameters: &parameters, ..Codec::new(&model, threads + 1) };
            let again = codec::encode(codec, &text(), &options).unwrap();
            assert!(again.payload == coded.payload, "{name}, {isa:?}");
        }
    }
}

#[test]
fn a_prefix_and_steering_vectors_go_with_learning() {
    let model = open(SLIDING, Isa::detect());
    let network = model.network().as_transformer().unwrap();
    let steering = Steering::random(network, 3, 7).unwrap();
    for kind in kinds(SLIDING) {
        let parameters = Parameters { learning: Some(learning(kind)), ..Parameters::default() };
        let codec = Codec { parameters: &parameters, steering: &steering, ..Codec::new(&model, 2) };
        let options = ChunkOptions { level: 9, lanes: Some(5), mix: false };
        let (coded_prefix, prefix) = codec::Prefix::encode(codec, b"the hat", &options).unwrap();
        let coded = codec::encode(Codec { prefix: &prefix, ..codec }, &text(), &options).unwrap();
        let prefix = codec::Prefix::decode(codec, &coded_prefix).unwrap();
        let plain = codec::decode(Codec { prefix: &prefix, threads: 1, ..codec }, &coded).unwrap();
        assert!(plain == text(), "{kind:?}");
        let fixed = Codec { parameters: &Parameters::default(), ..codec };
        let of_fixed = codec::encode(fixed, &text(), &options).unwrap();
        // Memory that suffices, in KiB.
        let least = |codec: Codec<'_>, coded: &codec::Coded<'_>| {
            let decode = |kib: u64| codec::decode(Codec { memory: kib << 10, ..codec }, coded);
            let kib = (4..).step_by(4).find(|&kib| decode(kib).is_ok()).unwrap();
            assert_eq!(decode(kib - 4).unwrap_err().kind(), ErrorKind::MemoryExceeded);
            kib
        };
        let learned = least(Codec { prefix: &prefix, ..codec }, &coded);
        assert!(learned > least(fixed, &of_fixed), "{kind:?}");
    }
}

#[test]
fn what_cannot_learn_is_refused() {
    for (name, kind) in [
        ("gpt2", LearningKind::All),
        ("gpt-neox-parallel-f16", LearningKind::All),
        ("gpt2", LearningKind::Adapter),
        ("lstm", LearningKind::Adapter),
    ] {
        let model = open(name, Isa::detect());
        let options = Options::default().learning(learning(kind));
        let result = archive::compress(&text()[..], Vec::new(), &model, &options, &|_| ());
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidArgument, "{name}");
        let parameters = Parameters {
            context: model.architecture().max_positions().map(|_| Context::new(24)),
            learning: Some(learning(kind)),
            ..Parameters::default()
        };
        let fixed = Parameters { learning: None, ..parameters };
        let options = ChunkOptions { level: 9, lanes: Some(3), mix: false };
        let codec = Codec { parameters: &fixed, ..Codec::new(&model, 1) };
        let coded = codec::encode(codec, &text(), &options).unwrap();
        let error = codec::decode(Codec { parameters: &parameters, ..codec }, &coded).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}");
    }
}

/// Chunks learn on their own: damage of one is not seen by the next.
#[test]
fn a_damaged_chunk_costs_that_chunk() -> Result<()> {
    kinds(SLIDING).try_for_each(a_damaged_chunk_of_a_kind_costs_that_chunk)
}

fn a_damaged_chunk_of_a_kind_costs_that_chunk(kind: LearningKind) -> Result<()> {
    let model = Arc::new(open(SLIDING, Isa::detect()));
    let options = Options::default().mix(false).chunk_size(300).lanes(2).learning(learning(kind));
    let mut packed = Vec::new();
    archive::compress(&text()[..], &mut packed, &model, &options, &|_| ())?;
    let stream = archive::list(std::io::Cursor::new(&packed))?.remove(0);
    assert_eq!(stream.parameters.learning, options.learning);
    let second = stream.chunks[1];
    packed[(second.offset + second.archive_len) as usize - 9] ^= 1;
    let read = |chunk: usize| {
        archive::read_chunk(std::io::Cursor::new(&packed), &stream, chunk, &model, &options)
    };
    assert_eq!(read(1).unwrap_err().kind(), ErrorKind::Corrupt);
    for (chunk, plain) in text().chunks(300).enumerate().filter(|(chunk, _)| *chunk != 1) {
        assert!(read(chunk)? == plain, "chunk {chunk}, {kind:?}");
    }
    Ok(())
}

/// Two lanes on a session each, fed with random tokens.
struct Fed {
    learner: Learner,
    sessions: [LearningSession; 2],
    model: Model,
    random: Random,
    position: u32,
    last: [u32; 2],
}

fn sessions(learner: &Learner) -> [LearningSession; 2] {
    [(); 2].map(|()| learner.session(1, INTERVAL, INTERVAL, 20))
}

/// Rows of a lane between steps.
const INTERVAL: usize = 8;

impl Fed {
    fn new(name: &str, kind: LearningKind, isa: Isa) -> Self {
        Self::with(name, learning(kind), isa)
    }

    fn with(name: &str, learning: Learning, isa: Isa) -> Self {
        let model = open(name, isa);
        let learner = Learner::new(model.network(), learning);
        let sessions = sessions(&learner);
        Self { learner, sessions, model, random: Random::new(3), position: 0, last: [1, 2] }
    }

    /// Starts the lanes anew.
    fn start(&mut self) {
        (self.sessions, self.position) = (sessions(&self.learner), 0);
    }

    /// Feeds one row to each lane; returns the logits, and by lane the input and the rank after it.
    fn step(&mut self) -> (Vec<f32>, [(u32, u32); 2]) {
        let v = self.model.network().outputs();
        let (mut all, mut tokens) = (Vec::new(), [(0, 0); 2]);
        for (lane, session) in self.sessions.iter_mut().enumerate() {
            let rows = [Row { lane: 0, position: self.position, token: self.last[lane] }];
            let mut logits = vec![0.0; v];
            session.forward(&rows, &mut logits);
            all.extend_from_slice(&logits);
            cumulative_counts(self.model.isa(), &mut logits, &mut vec![0; v + 1]).unwrap();
            session.keep_outputs(&rows, &logits);
            let rank = (self.random.bits() % 20) as u32;
            tokens[lane] = (self.last[lane], rank);
            self.last[lane] = self.model.vocabulary().id(rank);
        }
        self.position += 1;
        (all, tokens)
    }

    /// Feeds rows up to a step of learning, and takes it; returns the last logits, and inputs and ranks.
    fn learn(&mut self) -> (Vec<f32>, Vec<[(u32, u32); 2]>) {
        let (logits, tokens): (Vec<_>, Vec<_>) = (0..INTERVAL).map(|_| self.step()).unzip();
        let ranks = [0, 1].map(|lane| tokens.iter().map(|step| step[lane].1).collect::<Vec<_>>());
        self.learner.step(self.sessions.iter_mut().collect(), &[&ranks[0], &ranks[1]]);
        (logits.into_iter().last().unwrap(), tokens)
    }
}

/// Returns the gradients of the matrices of layers, by name: their order is that of the learner.
fn matrices(parameters: &[Parameter], all: Gradients, layers: &str) -> Vec<(String, Vec<f32>)> {
    let is_matrix = |p: &Parameter| p.name.starts_with(layers) && p.shape.len() == 2;
    let named = parameters.iter().zip(all).filter(|(p, _)| is_matrix(p));
    named.map(|(p, gradient)| (p.name.clone(), gradient)).collect()
}

/// The gradient is that of the networks that are trained, but for the rounding of keys and values.
#[test]
fn gradients_are_those_of_training() {
    for name in families() {
        let mut fed = Fed::new(name, LearningKind::All, Isa::detect());
        let (_, tokens) = fed.learn();
        let expected = match fed.model.network().as_transformer() {
            Some(network) => {
                let decoder = network.decoder(&|_| true);
                let mut expected = zeros(decoder.parameters());
                for lane in [0, 1] {
                    let (inputs, targets): (Vec<_>, Vec<_>) =
                        tokens.iter().map(|step| step[lane]).unzip();
                    decoder.token_cost(&inputs, &targets, Some(&mut expected));
                }
                matrices(decoder.parameters(), expected, "layers")
            }
            None => {
                let network = fed.model.network().as_recurrent().unwrap().trainable(&|_| true);
                let mut expected = zeros(network.parameters());
                let (inputs, targets): (Vec<_>, Vec<_>) = tokens.into_iter().flatten().unzip();
                let mut states = network.states(2);
                network.token_cost(&inputs, &targets, &mut states, Some(&mut expected));
                matrices(network.parameters(), expected, "rnn")
            }
        };
        let found = fed.learner.gradients();
        assert_eq!(found.len(), expected.len() + 1, "{name}");
        for (found, (parameter, expected)) in found.iter().zip(&expected) {
            assert_alike(found, expected, &format!("{name}: {parameter}"));
        }
    }
}

/// The gradients of adapters are those of training, also once B is not zeros.
#[test]
fn gradients_of_adapters_are_those_of_training() {
    const RANK: usize = 16;
    // So slowly that the head stays nearly as it is.
    let learning = Learning { rate: 1, ..learning(LearningKind::Adapter) };
    let mut fed = Fed::with(SLIDING, learning, Isa::detect());
    fed.learn();
    let first = fed.learner.gradients();
    fed.start();
    let (_, tokens) = fed.learn();
    let network = fed.model.network().as_transformer().unwrap();
    let mut decoder = network.decoder(&|_| false);
    let frozen = decoder.parameters().len();
    let (mut random, mut gradients) = (Drawn::new(&[0]), first.chunks_exact(2));
    let parts =
        [LayerPart::Qkv, LayerPart::AttentionOut, LayerPart::Gate, LayerPart::Up, LayerPart::Down];
    for (layer, part) in (0..network.shape().layers).flat_map(|layer| parts.map(|p| (layer, p))) {
        let [of_a, of_b] = gradients.next().unwrap() else { unreachable!() };
        assert!(of_a.iter().all(|&g| g == 0.0), "B is zeros at first");
        let (inputs, outputs) = (of_a.len() / RANK, of_b.len() / RANK);
        let deviation = (1.0 / (inputs as f64).sqrt()) as f32;
        let a = (0..RANK * inputs).map(|_| deviation * random.normal()).collect();
        let b = of_b.iter().map(|g| -1e-6 * g / (g.abs() + 1e-8)).collect();
        let matrices = [
            Parameter::new("A".into(), &[RANK, inputs], a),
            Parameter::new("B".into(), &[outputs, RANK], b),
        ];
        decoder.adapt(AdapterParameters { layer, part, first: 0, scale: 16.0, matrices });
    }
    let mut expected = zeros(decoder.parameters());
    for lane in [0, 1] {
        let (inputs, targets): (Vec<_>, Vec<_>) = tokens.iter().map(|step| step[lane]).unzip();
        decoder.token_cost(&inputs, &targets, Some(&mut expected));
    }
    let found = fed.learner.gradients();
    assert_eq!(found.len(), expected.len() - frozen + 1);
    for (i, (found, expected)) in found.iter().zip(&expected[frozen..]).enumerate() {
        assert_alike(found, expected, &format!("matrix {i}"));
    }
}

/// Asserts that gradients differ by no more than the rounding of keys and values.
fn assert_alike(found: &[f32], expected: &[f32], name: &str) {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let error: f64 = found.iter().zip(expected).map(|(a, b)| square(a - b)).sum();
    let norm: f64 = expected.iter().map(|&x| square(x)).sum();
    assert!(norm > 0.0, "{name} has no gradient");
    assert!(error < 4e-4 * norm, "{name}: {error} of {norm}");
}

/// A session's digest of logits after 10 and 100 steps.
#[test]
fn what_was_learned_is_pinned() {
    for isa in Isa::available() {
        let mut digests = Vec::new();
        for (name, kind) in [
            (SLIDING, LearningKind::Head),
            (SLIDING, LearningKind::All),
            (SLIDING, LearningKind::Adapter),
            ("gru", LearningKind::Head),
            ("gru", LearningKind::All),
            ("lstm", LearningKind::All),
        ] {
            let mut fed = Fed::new(name, kind, isa);
            for step in 1..=100 {
                fed.learn();
                if step == 10 || step == 100 {
                    let bytes: Vec<u8> =
                        fed.step().0.iter().flat_map(|x| x.to_le_bytes()).collect();
                    digests.push(blake3::hash(&bytes).to_hex()[..16].to_owned());
                    fed.learner.step(fed.sessions.iter_mut().collect(), &[&[0], &[0]]);
                }
            }
        }
        let expected = [
            ["c320467496037f21", "55ddb18216a144a4"],
            ["b80e477819ec2258", "e2501acbd9eb33a0"],
            ["91b03626c85edd8c", "195cacccf3e5a172"],
            ["ddbed462766dafff", "95f7586922811d15"],
            ["678304a672c2a602", "364135881e0a4bd4"],
            ["b8a43a3202762746", "191f35de62012c3a"],
        ]
        .concat();
        assert_eq!(digests, expected, "{isa:?}");
    }
}

/// After a gradient that is not finite nothing more is learned.
#[test]
fn a_gradient_that_is_not_finite_freezes_the_weights() {
    let mut fed = Fed::new(SLIDING, LearningKind::All, Isa::detect());
    let probe = |fed: &mut Fed| {
        let mut logits = vec![0.0; fed.model.network().outputs()];
        let mut session = fed.learner.session(1, 1, 1, 1);
        session.forward(&[Row { lane: 0, position: 0, token: 1 }], &mut logits);
        logits
    };
    let start = probe(&mut fed);
    fed.learn();
    let before = probe(&mut fed);
    assert!(before != start, "it learns until then");
    let v = fed.model.network().outputs();
    let rows = [Row { lane: 0, position: fed.position, token: 1 }];
    for session in &mut fed.sessions {
        session.forward(&rows, &mut vec![0.0; v]);
        session.keep_outputs(&rows, &vec![f32::INFINITY; v]);
    }
    fed.position += 1;
    fed.learner.step(fed.sessions.iter_mut().collect(), &[&[0], &[0]]);
    assert!(probe(&mut fed) == before, "the gradient was not finite");
    fed.learn();
    assert!(probe(&mut fed) == before, "and froze the weights");
}

/// Constant rows leave the other rows' gradients as they are.
#[test]
fn attention_over_a_constant_past_has_the_same_gradients() {
    let shape = AttentionShape { heads: 4, kv_heads: 2, head_dim: 6, window: 30, scale: 0.4 };
    let heads = AttentionLayer { shape };
    let (width, out) = (heads.qkv_width(), heads.out_width());
    let (past, rows) = (37, 9);
    let mut random = Random::new(5);
    let qkv = random.values((past + rows) * width);
    let d_out = random.values(rows * out);
    let isa = Isa::detect();
    let found = heads.backward(isa, &qkv, None, past, &d_out).qkv;
    let all = [vec![0.0; past * out], d_out].concat();
    let expected = heads.backward(isa, &qkv, None, 0, &all).qkv;
    let pairs = found.iter().zip(&expected).skip(past * width);
    assert!(pairs.clone().count() == rows * width);
    pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "{a} {b}"));
}
