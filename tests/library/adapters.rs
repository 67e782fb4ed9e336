//! Low-rank adapters: beside networks of every family, in archives, and what is no adapter.

use super::steering::{compress, decompress, text};
use crate::family::{FAMILIES, folder};
use crate::random::Random;
use llmzip::archive::{self, AdapterName, ModelName, ModelSource, Options};
use llmzip::codec::{self, ChunkOptions, Codec, Parameters};
use llmzip::models::{
    AdaptedModule, Adapter, AdapterFiles, Architecture, Config, Context, Learning, LearningKind,
    Model, Row, Session, Transformer, Weights,
};
use llmzip::ops::Isa;
use llmzip::{ErrorKind, Result};
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const RECURRENT: [&str; 2] = ["gru", "lstm"];

/// Models of `tests/oracle` that have an adapter in `adapters`.
const ORACLES: [&str; 4] = ["gpt-neox-parallel-f16", "gpt2", "llama-gqa-tied", "qwen3-tied"];

fn oracle(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(name)
}

fn bare(name: &str) -> (Config, Transformer) {
    let config = Config::parse(&std::fs::read(oracle(name).join("config.json")).unwrap()).unwrap();
    let weights = Weights::open(&[oracle(name).join("model.safetensors")]).unwrap();
    let ids: Vec<u32> = (0..config.vocab_size as u32).collect();
    let network = Transformer::load(&config, &weights, &ids, Isa::detect()).unwrap();
    (config, network)
}

fn numbers<const N: usize, T>(view: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    view.as_chunks().0.iter().map(|&bytes| read(bytes)).collect()
}

/// PEFT computes the same logits, in float64.
#[test]
fn logits_agree_with_peft() {
    for name in ORACLES {
        let (config, network) = bare(name);
        let files = AdapterFiles::open(&oracle("adapters").join(name), name.to_owned()).unwrap();
        let adapter = files.parse(&config).unwrap();
        let reference =
            std::fs::read(oracle("adapters").join(name).join("reference.safetensors")).unwrap();
        let reference = SafeTensors::deserialize(&reference).unwrap();
        let data = |name| reference.tensor(name).unwrap().data().to_vec();
        let tokens = numbers(&data("input_ids"), |x| i64::from_le_bytes(x) as u32);
        let positions = numbers(&data("positions"), |x| i64::from_le_bytes(x) as usize);
        let expected = numbers(&data("logits"), f32::from_le_bytes);
        let v = config.vocab_size;
        let row = |(at, &token): (usize, &u32)| Row { lane: 0, position: at as u32, token };
        let rows: Vec<Row> = tokens.iter().enumerate().map(row).collect();
        let off = |network: &Transformer| {
            let mut logits = vec![f32::NAN; tokens.len() * v];
            network.session_with::<f32>(1, tokens.len(), usize::MAX).forward(&rows, &mut logits);
            let got = positions.iter().flat_map(|&p| &logits[p * v..][..v]);
            got.zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        let (with, without) = (off(&network.with_adapter(&adapter)), off(&network));
        println!("{name}: greatest difference {with:e}, without the adapter {without:e}");
        assert!(with < 1e-4, "{name}: logits are off by {with:e}");
        assert!(without > 0.1, "{name}: the adapter does nothing");
    }
}

/// An adapter beside some of a model's linear layers.
fn adapter(architecture: &Architecture, rank: usize, every: usize) -> Adapter {
    let mut random = Random::new(17);
    let mut values = |n: usize| random.values(n).iter().map(|x| 0.1 * x).collect();
    let modules = architecture.adaptable_modules().unwrap().into_iter().step_by(every);
    let modules = modules.map(|module| AdaptedModule {
        a: values(rank * module.inputs),
        b: values(rank * module.outputs),
        module,
    });
    let modules = modules.collect();
    Adapter { rank, alpha: 1.5 * rank as f64, is_rank_stabilized: rank == 3, modules }
}

fn files_of(model: &Model, adapter: &Adapter) -> AdapterFiles {
    let Architecture::Transformer(config) = model.architecture() else { panic!("recurrent") };
    AdapterFiles::of_adapter("logs".into(), adapter, "base", config)
}

/// A model and an adapter.
struct Stored(Arc<Model>, AdapterFiles);

impl ModelSource for Stored {
    fn find(&self, wanted: &ModelName) -> Result<Arc<Model>> {
        self.0.find(wanted)
    }

    fn find_adapter(&self, wanted: &AdapterName) -> Result<AdapterFiles> {
        match self.1.digest() == wanted.digest {
            true => Ok(self.1.clone()),
            false => Err(wanted.missing()),
        }
    }
}

/// A code of the same bits, by whatever instruction set and number of threads, which needs the adapter.
#[test]
fn every_family_round_trips() {
    for name in FAMILIES.iter().filter(|name| !RECURRENT.contains(name)) {
        let folder = folder(name);
        let open = |isa| Model::open_on(folder.path(), isa).unwrap();
        let bare = open(Isa::detect());
        let files = files_of(&bare, &adapter(bare.architecture(), 3, 1));
        let model = bare.with_adapter(&files).unwrap();
        let parameters = Parameters { context: Some(Context::new(24)), ..Parameters::default() };
        for mix in [false, true] {
            let options = ChunkOptions { level: 9, lanes: Some(3), mix };
            let encode = |model: &Model, threads| {
                let codec = Codec { parameters: &parameters, ..Codec::new(model, threads) };
                codec::encode(codec, &text(), &options).unwrap()
            };
            let coded = encode(&model, 1);
            for threads in [1, 3] {
                let codec = Codec { parameters: &parameters, ..Codec::new(&model, threads) };
                assert!(
                    codec::decode(codec, &coded).unwrap() == text(),
                    "{name}, {threads} threads"
                );
            }
            if !mix {
                let other = encode(&bare, 1);
                assert!(other.payload != coded.payload, "{name}: the adapter does nothing");
            }
            for isa in Isa::available() {
                let again = encode(&open(isa).with_adapter(&files).unwrap(), 2);
                assert!(again.payload == coded.payload, "{name}, {isa:?}");
            }
        }
    }
}

/// In floats and in int8, which the compiled-in model is.
#[test]
fn archives_name_their_adapter() {
    let model = |isa| Arc::new(Model::default_model(isa).unwrap());
    let bare = model(Isa::detect());
    let files = files_of(&bare, &adapter(bare.architecture(), 3, 1));
    let adapted = Arc::new(bare.with_adapter(&files).unwrap());
    for mix in [false, true] {
        let options = Options::default().lanes(3).chunk_size(700).mix(mix).prefix(b"the cat");
        let (packed, plain) =
            (compress(&adapted, &options).unwrap(), compress(&bare, &options).unwrap());
        assert!(archive::list(std::io::Cursor::new(&packed)).unwrap()[0].needs_model());
        for isa in Isa::available() {
            let bare = model(isa);
            let adapted = bare.with_adapter(&files).unwrap();
            let again = compress(&adapted, &options.clone().threads(5)).unwrap();
            assert!(packed == again, "other bytes on {isa:?}");
            for threads in [1, 3] {
                let stored = Stored(Arc::clone(&bare), files.clone());
                assert!(decompress(&packed, &stored, threads).unwrap() == text(), "{isa:?}");
            }
        }
        // A model that has the adapter already serves as well, and one that is not wanted goes.
        assert!(decompress(&packed, &adapted, 1).unwrap() == text());
        assert!(decompress(&plain, &adapted, 1).unwrap() == text());
        let error = decompress(&packed, &bare, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelMissing);
        assert!(error.to_string().contains("adapter 'logs'"), "{error}");
    }
}

/// A source that gives whatever it has.
struct Wrong(Arc<Model>, AdapterFiles);

impl ModelSource for Wrong {
    fn find(&self, wanted: &ModelName) -> Result<Arc<Model>> {
        self.0.find(wanted)
    }

    fn find_adapter(&self, _: &AdapterName) -> Result<AdapterFiles> {
        Ok(self.1.clone())
    }
}

#[test]
fn another_adapter_is_refused() {
    let model = Arc::new(Model::default_model(Isa::detect()).unwrap());
    let of_rank = |rank| files_of(&model, &adapter(model.architecture(), rank, 5));
    let adapted = model.with_adapter(&of_rank(2)).unwrap();
    let packed = compress(&adapted, &Options::default()).unwrap();
    let error = decompress(&packed, &Wrong(Arc::clone(&model), of_rank(3)), 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelMissing, "{error}");
    // Its name costs what the format says: key, length, digest, length and label.
    let bare = compress(&model, &Options::default().level(3)).unwrap();
    assert_eq!(compress(&adapted, &Options::default().level(3)).unwrap(), bare);
    let listed = archive::list(&mut std::io::Cursor::new(&packed)).unwrap();
    assert_eq!(listed[0].adapter.as_ref().map(|name| &name.label[..]), Some("logs"));
}

/// The head can learn beside an adapter, all of a model cannot.
#[test]
fn the_head_learns_beside_an_adapter() {
    let model = Arc::new(Model::default_model(Isa::detect()).unwrap());
    let files = files_of(&model, &adapter(model.architecture(), 2, 5));
    let adapted = model.with_adapter(&files).unwrap();
    let options = |kind| {
        let learning = Learning { tokens_log2: 6, ..Learning::of(kind) };
        Options::default().mix(false).learning(learning)
    };
    let packed = compress(&adapted, &options(LearningKind::Head)).unwrap();
    assert_eq!(decompress(&packed, &Stored(model, files), 2).unwrap(), text());
    let error = compress(&adapted, &options(LearningKind::All)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("without an adapter"), "{error}");
}

#[test]
fn files_come_back() {
    for name in FAMILIES.iter().filter(|name| !RECURRENT.contains(name)) {
        let folder = folder(name);
        let model = Model::open_on(folder.path(), Isa::detect()).unwrap();
        for (rank, every) in [(1, 2), (3, 1)] {
            let adapter = adapter(model.architecture(), rank, every);
            let Architecture::Transformer(config) = model.architecture() else { unreachable!() };
            assert_eq!(files_of(&model, &adapter).parse(config).unwrap(), adapter, "{name}");
        }
    }
}

fn says(config: &str, weights: &[u8], words: &str) {
    let model = Model::default_model(Isa::detect()).unwrap();
    let files = AdapterFiles::new("a".into(), config.into(), weights.to_vec());
    let error = model.with_adapter(&files).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidModel, "{error}");
    assert!(error.to_string().contains(words), "{error}, not {words}");
}

/// Each of the kinds of adapters that are not run is refused by the name of its field.
#[test]
fn what_is_not_supported_is_named() {
    let model = Model::default_model(Isa::detect()).unwrap();
    let files = files_of(&model, &adapter(model.architecture(), 2, 5));
    let [config, weights] = files.bytes();
    let config = std::str::from_utf8(config).unwrap();
    let with = |field: &str| config.replacen('{', &format!("{{{field},"), 1);
    model
        .with_adapter(&AdapterFiles::new(
            "a".into(),
            with("\"use_dora\": false").into(),
            weights.to_vec(),
        ))
        .unwrap();
    for (field, words) in [
        ("\"use_dora\": true", "use_dora"),
        ("\"modules_to_save\": [\"lm_head\"]", "modules_to_save"),
        ("\"lora_bias\": true", "lora_bias"),
        ("\"rank_pattern\": {\"q_proj\": 4}", "rank_pattern"),
        ("\"alpha_pattern\": {\"q_proj\": 4}", "alpha_pattern"),
        ("\"layer_replication\": [[0, 4]]", "layer_replication"),
        ("\"init_lora_weights\": \"pissa\"", "init_lora_weights is pissa"),
    ] {
        says(&with(field), weights, words);
    }
    let replaced = |from: &str, to: &str| {
        assert!(config.contains(from), "{from} in {config}");
        config.replace(from, to)
    };
    says(&replaced("\"LORA\"", "\"LOHA\""), weights, "peft_type is LOHA, expected LORA");
    says(&replaced("\"none\"", "\"all\""), weights, "bias is all, expected none");
    says(&replaced("\"r\": 2", "\"r\": 0"), weights, "r is 0, expected 1 to 1024");
    says(&replaced("\"r\": 2", "\"r\": 3"), weights, "shape");
    says(&replaced("\"r\": 2", "\"r\": 2.5"), weights, "adapter_config.json");
    says(&replaced("\"lora_alpha\": 3.0", "\"lora_alpha\": -1"), weights, "lora_alpha is -1");
    says(&replaced("\"lora_alpha\": 3.0", "\"lora_alpha\": 1e300"), weights, "lora_alpha");
    says(&replaced("[\n", "[\n\"embed_tokens\",\n"), weights, "embed_tokens: no tensor is for it");
    says("{", weights, "adapter_config.json");
}

/// Whatever becomes of the weights, there is an error that names them, or an adapter.
#[test]
fn bad_weights_are_refused() {
    let model = Model::default_model(Isa::detect()).unwrap();
    let files = files_of(&model, &adapter(model.architecture(), 2, 5));
    let [config, weights] = files.bytes();
    let config = std::str::from_utf8(config).unwrap();
    for len in (0..weights.len()).step_by(weights.len() / 50) {
        says(config, &weights[..len], "adapter a");
    }
    let renamed = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = weights.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        [&weights[..at], to.as_bytes(), &weights[at + from.len()..]].concat()
    };
    says(config, &renamed("lora_A.weight", "lora_C.weight"), "expected base_model.model.MODULE");
    says(config, &renamed("base_model.model.", "base_model.other."), "expected base_model.model");
    says(config, &renamed("layers.0.", "layers.x."), "a linear layer of the model");
    says(config, &renamed("\"F32\"", "\"I32\""), "type I32, expected f32, f16 or bf16");
    let mut nan = weights.to_vec();
    let last = nan.len() - 4;
    nan[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    says(config, &nan, "non-finite");
    let empty =
        safetensors::serialize(Vec::<(String, safetensors::tensor::TensorView<'_>)>::new(), None);
    says(config, &empty.unwrap(), "has no tensors");
    let gru = Model::open_on(folder("gru").path(), Isa::detect()).unwrap();
    let error = gru.with_adapter(&files).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
}
