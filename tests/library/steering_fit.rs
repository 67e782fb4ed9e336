//! Steering vectors that learn: from texts of a kind, and from one text that carries them.

use crate::family::folder;
use crate::share;
use llmzip::ErrorKind;
use llmzip::archive::{self, NamedSteering, Options};
use llmzip::codec::{Quantizer, SteeringCode};
use llmzip::models::Model;
use llmzip::ops::Isa;
use llmzip::train::steering::{
    Fit, FitOptions, PromptOptions, SteeringObjective, SteeringPrior, fit, pieces, train_prompt,
};
use rayon::ThreadPoolBuilder;

fn open(name: &str, isa: Isa) -> Model {
    Model::open_on(folder(name).path(), isa).unwrap()
}

fn text() -> Vec<u8> {
    (0..60).flat_map(|i| format!("the line {} of the list\n", i * 7 % 100).into_bytes()).collect()
}

fn on_threads<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

#[test]
fn a_prompt_is_learned_and_the_same_everywhere() {
    let options = PromptOptions { vectors: 3, piece: 100, batch: 2, ..PromptOptions::default() };
    let prompt = |isa, threads, steps| {
        let model = open("llama-gqa-tied", isa);
        let options = PromptOptions { steps, ..options };
        let mut reports = 0;
        let prompt = on_threads(threads, || {
            train_prompt(&model, &[text()], &options, &mut |_| reports += 1).unwrap()
        });
        assert_eq!(reports, steps);
        prompt
    };
    let first = prompt(Isa::detect(), 1, 10);
    println!("{} bits per byte with, {} without", first.with, first.without);
    assert!(first.with < 0.97 * first.without);
    assert_eq!(first.held_out.len(), text().len().div_ceil(100) / 8);
    let first = prompt(Isa::detect(), 1, 2);
    for isa in Isa::available() {
        assert!(prompt(isa, 2, 2) == first, "{isa:?}");
    }
}

#[test]
fn too_little_text_and_recurrent_models_are_refused() {
    let refused = |name: &str, text: &[u8], words: &str| {
        let model = open(name, Isa::detect());
        let options = PromptOptions { piece: 100, steps: 1, ..PromptOptions::default() };
        let error = train_prompt(&model, &[text.to_vec()], &options, &mut |_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(words), "{error}");
    };
    refused("llama-gqa-tied", &text()[..700], "too little text");
    refused("llama-gqa-tied", b"", "too little text");
    refused("gru", &text(), "recurrent");
}

fn fitted(prior: SteeringPrior, text: &[u8], isa: Isa, threads: usize) -> Option<Fit> {
    let model = open("llama-gqa-tied", isa);
    let options = FitOptions { prior, piece: 200, passes: 4, ..FitOptions::default() };
    on_threads(threads, || fit(&model, text, &options).unwrap())
}

/// What a fit says of its code is so: a decoder's vectors cost the text that many bits.
#[test]
fn a_fit_pays_and_is_the_same_everywhere() {
    let model = open("llama-gqa-tied", Isa::detect());
    for prior in [SteeringPrior::Gauss, SteeringPrior::Empirical, SteeringPrior::LloydMax] {
        let fit =
            fitted(prior, &text(), Isa::detect(), 1).expect("so bad a model gains by any vector");
        println!("{prior:?}: {:.0} -> {:.0} + {:.0}", fit.without, fit.with, fit.code_bits);
        assert!(fit.total() < fit.without);
        let is_its_own = matches!(
            (prior, &fit.code.quantizer),
            (SteeringPrior::Gauss, Quantizer::Gauss { .. })
                | (SteeringPrior::Empirical, Quantizer::Empirical { .. })
                | (SteeringPrior::LloydMax, Quantizer::LloydMax { .. })
        );
        assert!(is_its_own, "{prior:?}");
        let objective = SteeringObjective::new(&model).unwrap();
        let pieces = pieces(&model, &text(), 200);
        let code = fit.code.to_bytes();
        assert_eq!(8.0 * code.len() as f64, fit.code_bits);
        let code = SteeringCode::parse(&code, objective.width()).unwrap();
        let vectors = code.vectors(model.network().as_transformer().unwrap()).unwrap();
        assert_eq!(objective.bits(vectors.values(), &pieces), fit.with);
        assert_eq!(objective.bits(&[], &pieces), fit.without);
    }
    // The portable kernels are slow: a prompt, above, is learned by them.
    let is_done = |isa: &Isa| isa.name() != "scalar" || share::step(2) == 1;
    let first = fitted(SteeringPrior::Empirical, &text(), Isa::detect(), 1);
    for isa in Isa::available().into_iter().filter(is_done) {
        assert!(fitted(SteeringPrior::Empirical, &text(), isa, 3) == first, "{isa:?}");
    }
}

#[test]
fn nothing_is_fitted_where_nothing_pays() {
    let model = open("llama-gqa-tied", Isa::detect());
    for text in [&b""[..], b"x", b"\x00\xff\x80"] {
        assert!(fit(&model, text, &FitOptions::default()).unwrap().is_none());
    }
}

/// An archive carries its vectors: its readers need the model and nothing else. Any damaged byte of the
/// block is said to be of the vectors, in both forms.
#[test]
fn archives_carry_vectors() {
    let model = std::sync::Arc::new(Model::default_model(Isa::detect()).unwrap());
    let width = SteeringObjective::new(&model).unwrap().width();
    let code = SteeringCode {
        quantizer: Quantizer::Empirical { step: 0x3c00 },
        starts: vec![Some(300), None],
        integers: (0..2 * width as i32).map(|i| i % 3 - 1).collect(),
    };
    let steering = NamedSteering::carried(&model, &code).unwrap();
    for options in [Options::default().lanes(2), Options::default().lanes(2).chunk_size(1000)] {
        let options = options.mix(false).steering(steering.clone());
        let mut packed = Vec::new();
        archive::compress(&text()[..], &mut packed, &model, &options, &|_| ()).unwrap();
        let read = |packed: &[u8]| {
            let mut plain = Vec::new();
            let options = Options::default();
            archive::decompress(packed, &mut plain, &model, &options, &|_| ()).map(|_| plain)
        };
        assert!(read(&packed).unwrap() == text());
        // After the magic, version, model, the extension's key and length: its kind, then the rest.
        let code = code.to_bytes();
        let first = packed.windows(code.len()).position(|bytes| bytes == code).unwrap();
        let flipped = |at: usize, mask: u8| {
            let mut flipped = packed.clone();
            flipped[at] ^= mask;
            read(&flipped).unwrap_err()
        };
        for (i, at) in (first - 1..first + code.len()).enumerate() {
            let error = flipped(at, 1 << (i % 8) | (i % 5) as u8);
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(
                error.to_string().contains("the carried steering vectors are damaged"),
                "{error}"
            );
        }
        for mask in [1, 2, 4, 0x80] {
            let error = flipped(first - 2, mask).to_string();
            assert!(error.contains("the steering extension"), "{error}");
        }
        // The model byte, which is none of the block.
        assert!(flipped(5, 2).to_string().contains("the header's CRC"));
    }
}
