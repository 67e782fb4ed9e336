//! What texts cost by models alone, by llmzip's kernels and by candle.

use crate::family::{FAMILIES, folder};
use llmzip::codec::{self, ChunkOptions, Codec, Parameters};
use llmzip::models::{Context, Model};
use llmzip::ops::Isa;
use llmzip::train::candle::{CPU, CandleModel};
use std::path::Path;

fn text() -> Vec<u8> {
    (0..30).flat_map(|i| format!("the line {} of the list\n", i * 7 % 100).into_bytes()).collect()
}

/// Models whose windows slide, or lanes start afresh, several times in the text.
fn models() -> impl Iterator<Item = (String, Model, Option<Context>)> {
    let of_family = |name: &str| {
        let model = Model::open_on(folder(name).path(), Isa::detect()).unwrap();
        let restarts = model.architecture().max_positions().is_some();
        (name.to_owned(), model, restarts.then(|| Context::new(48)))
    };
    FAMILIES.into_iter().chain(["mistral-window"]).map(of_family)
}

/// Float models are the same but for the order of sums.
#[test]
fn candle_and_the_kernels_agree() {
    for (name, model, context) in models() {
        let exact = model.cost(model.network(), context, &text());
        let network = CandleModel::new(&model, &CPU).unwrap();
        let found = model.cost(&network, context, &text());
        network.check().unwrap();
        let off = (found.bits / exact.bits - 1.0).abs();
        println!("{name}: {exact:?}, {off:e} by candle");
        assert_eq!(found.n_tokens, exact.n_tokens);
        assert!(off < 1e-4, "{name}: {found:?}, not {exact:?}");
    }
}

/// Integers run as floats in candle, with no rounding of activations.
#[test]
fn candle_is_near_a_quantized_model() {
    let model = Model::default_model(Isa::detect()).unwrap();
    let network = CandleModel::new(&model, &CPU).unwrap();
    let [exact, found] =
        [model.network(), &network].map(|network| model.cost(network, None, &text()));
    let off = (found.bits / exact.bits - 1.0).abs();
    println!("{exact:?}, {off:e} by candle");
    assert!(off < 0.01, "{found:?}, not {exact:?}");
}

/// A chunk of one lane takes as many bits as it is said to cost, whether a window slides or lanes start
/// afresh.
#[test]
fn the_cost_is_that_of_a_chunk() {
    let no_window = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/no-window");
    let no_window = Model::open_on(&no_window, Isa::detect()).unwrap();
    let default = Model::default_model(Isa::detect()).unwrap();
    for (model, context) in [(default, None), (no_window, Some(Context::new(48)))] {
        let parameters = Parameters { context, ..Parameters::default() };
        let codec = Codec { parameters: &parameters, ..Codec::new(&model, 1) };
        let options = ChunkOptions { level: 9, lanes: Some(1), mix: false };
        let coded = codec::encode(codec, &text(), &options).unwrap();
        assert!(!coded.coding.is_stored());
        let cost = model.cost(model.network(), context, &text());
        let bits = 8.0 * coded.payload.len() as f64;
        println!("{bits} bits, {:.1} by its cost", cost.bits);
        assert!((bits - cost.bits).abs() < 16.0 + 1e-3 * bits, "{bits}, {cost:?}");
    }
}

/// The tokens of a text spell it, and cost what it costs.
#[test]
fn tokens_cost_what_their_text_costs() {
    for (name, model, context) in models() {
        let tokens = model.token_costs(context, &text());
        let spelled: Vec<u8> = tokens.iter().flat_map(|token| token.bytes).copied().collect();
        assert_eq!(spelled, text(), "{name}");
        let cost = model.cost(model.network(), context, &text());
        let bits: f64 = tokens.iter().map(|token| token.bits).sum();
        assert_eq!(tokens.len() as u64, cost.n_tokens, "{name}");
        assert!((bits - cost.bits).abs() < 1e-6 * cost.bits, "{name}: {bits}, not {cost:?}");
        let all_cost = tokens.iter().all(|token| token.bits >= 0.0);
        assert!(all_cost, "{name}: a token costs less than nothing");
    }
}

#[test]
fn an_empty_text_costs_nothing() {
    let (_, model, context) = models().next().unwrap();
    let cost = model.cost(model.network(), context, b"");
    assert_eq!((cost.n_tokens, cost.bits), (0, 0.0));
    assert_eq!(model.token_costs(context, b""), []);
}
