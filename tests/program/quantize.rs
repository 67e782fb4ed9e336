//! Models in int8: quantized while loading and in folders of `models quantize`, on every path and in
//! any schedule the same bits; what is malformed is refused.

use crate::family;
use crate::family::FAMILIES;
use crate::floats;
use crate::random::Random;
use crate::shell;
use crate::shell::Shell;
use crate::tiny;
use llmzip::models::{Model, ModelFolder, QuantWeights, Quantization, RoundedWeights, Row};
use llmzip::ops::{ActivationBits, Isa};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const BITS: [ActivationBits; 2] = [ActivationBits::Eight, ActivationBits::Sixteen];

/// The oracle's model `name` with a tokenizer of bytes, in a folder of its own.
pub fn folder(name: &str) -> TempDir {
    let folder = family::folder(name);
    tiny::write(folder.path(), &tiny::files()[2..]);
    folder
}

/// Changes the configuration in `folder`.
pub fn configure(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(path, config.to_string()).unwrap();
}

/// `folder` quantized while it is loaded: its weights stay floats.
fn quantized_while_loading(folder: &Path, bits: ActivationBits, isa: Isa) -> Model {
    let bits = bits.bits();
    let value = json!({"quant_method": "llmzip-int8", "activation_bits": bits});
    configure(folder, |config| config["quantization_config"] = value);
    let model = Model::open_on(folder, isa).unwrap();
    configure(folder, |config| drop(config.as_object_mut().unwrap().remove("quantization_config")));
    model
}

/// `folder` written in int8.
fn written(folder: &Path, bits: ActivationBits) -> TempDir {
    let target = tempfile::tempdir().unwrap();
    let quantization = Quantization { weights: QuantWeights::Int8, activations: bits };
    let rounded = RoundedWeights::default();
    ModelFolder::find(folder)
        .unwrap()
        .quantize(quantization, &rounded, target.path(), &|_| ())
        .unwrap();
    target
}

/// Logits after each of some tokens of two lanes, `steps` tokens of each a call.
pub fn logits(model: &Model, steps: usize) -> Vec<u32> {
    let mut random = Random::new(5);
    let tokens: Vec<u32> = (0..24).map(|_| random.bits() as u32 % 256).collect();
    let network = model.network();
    let v = network.outputs();
    let mut all = vec![0; tokens.len() * v];
    let mut session = network.session(2, steps, usize::MAX);
    for first in (0..12).step_by(steps) {
        let places = (0..2).flat_map(|lane| (first..12.min(first + steps)).map(move |p| (lane, p)));
        let places: Vec<(usize, usize)> = places.collect();
        let row = |&(lane, position): &(usize, usize)| Row {
            lane: lane as u32,
            position: position as u32,
            token: tokens[12 * lane + position],
        };
        let rows: Vec<Row> = places.iter().map(row).collect();
        let mut out = vec![0.0; rows.len() * v];
        session.forward(&rows, &mut out);
        for ((lane, position), out) in places.iter().zip(out.chunks(v)) {
            let at = (12 * lane + position) * v;
            all[at..at + v].iter_mut().zip(out).for_each(|(all, x)| *all = x.to_bits());
        }
    }
    all
}

/// Written and quantized while loading are one network; no path and no schedule changes a bit of it.
#[test]
fn every_family_is_one_network_in_int8() {
    for name in FAMILIES {
        let folder = folder(name);
        for bits in BITS {
            let model = quantized_while_loading(folder.path(), bits, Isa::detect());
            let expected = logits(&model, 12);
            assert!(expected.iter().any(|&bits| bits != expected[0]), "{name}: all the same");
            for steps in [1, 5] {
                assert!(logits(&model, steps) == expected, "{name} {bits:?}, {steps} steps");
            }
            let target = written(folder.path(), bits);
            for isa in
                Isa::available().into_iter().flat_map(|isa| [isa, isa.without_byte_products()])
            {
                let model = Model::open_on(target.path(), isa).unwrap();
                assert!(logits(&model, 5) == expected, "{name} {bits:?} {isa:?}, written");
            }
        }
    }
}

/// What archives are made of: a change of a bit would make those of int8 models unreadable.
#[test]
fn logits_in_int8_are_pinned() {
    let pinned = [
        (ActivationBits::Eight, "5b6cbf42a5db88b0d37222ea9536410c"),
        (ActivationBits::Sixteen, "549ddfaf7aa16d8619fa2977bd51d436"),
    ];
    for (bits, expected) in pinned {
        let target = written(folder("llama-gqa-tied").path(), bits);
        let logits = logits(&Model::open_on(target.path(), Isa::detect()).unwrap(), 12);
        let bytes: Vec<u8> = logits.into_iter().flat_map(u32::to_le_bytes).collect();
        assert_eq!(&blake3::hash(&bytes).to_hex()[..32], expected, "{bits:?}");
    }
}

/// The deviation from `expected`, as a share of its own deviation from its mean.
pub fn relative_error(got: &[u32], expected: &[u32]) -> f64 {
    let float = |bits: &u32| f64::from(f32::from_bits(*bits));
    let mean = expected.iter().map(float).sum::<f64>() / expected.len() as f64;
    let error = got.iter().zip(expected).map(|(a, b)| (float(a) - float(b)).powi(2)).sum::<f64>();
    let spread = expected.iter().map(|x| (float(x) - mean).powi(2)).sum::<f64>();
    (error / spread).sqrt()
}

/// Integers cost some precision, and not more.
#[test]
fn int8_is_close_to_floats() {
    for name in FAMILIES {
        let folder = folder(name);
        let expected = logits(&Model::open_on(folder.path(), Isa::detect()).unwrap(), 12);
        for (bits, most) in [(ActivationBits::Eight, 0.05), (ActivationBits::Sixteen, 0.04)] {
            let model = quantized_while_loading(folder.path(), bits, Isa::detect());
            let error = relative_error(&logits(&model, 12), &expected);
            println!("{name} {bits:?}: {error:.4}");
            assert!((1e-5..most).contains(&error), "{name} {bits:?}: {error}");
        }
    }
}

/// The default model in int8 is a model of its own, and as good as in floats, to half a percent.
#[test]
fn a_model_is_as_good_in_int8() {
    use llmzip::codec::{ChunkOptions, Codec, encode};
    let text = include_bytes!("../../docs/format.md");
    let size = |model: &Model| {
        let options = ChunkOptions { level: 6, lanes: Some(16), mix: false };
        encode(Codec::new(model, 2), text, &options).unwrap().payload.len() as f64
    };
    let folder = TempDir::new().unwrap();
    floats::write_default(folder.path());
    let floats = Model::open_on(folder.path(), Isa::detect()).unwrap();
    let folder = ModelFolder::find(folder.path()).unwrap();
    for bits in BITS {
        let to = TempDir::new().unwrap();
        folder
            .quantize(
                Quantization { weights: QuantWeights::Int8, activations: bits },
                &RoundedWeights::default(),
                to.path(),
                &|_| (),
            )
            .unwrap();
        let model = Model::open_on(to.path(), Isa::detect()).unwrap();
        assert_ne!(model.identity().digest, floats.identity().digest);
        let ratio = size(&model) / size(&floats);
        println!("{bits:?}: {ratio:.5}");
        assert!(ratio < 1.005, "{bits:?}: {ratio}");
    }
}

/// The way of a person: quantize, compress, decompress, carry.
#[test]
fn a_quantized_model_makes_archives() {
    let shell = Shell::new();
    let text = b"the same words and the same words again, ".repeat(20);
    shell.write("a", &text);
    tiny::write(&shell.path("tiny"), &tiny::files());
    for (bits, folder) in [("8", "tiny-int8"), ("16", "other")] {
        let arguments = ["models", "quantize", "tiny", "--int8", "--activation-bits", bits];
        let output = if bits == "16" { &["-o", folder][..] } else { &[] };
        shell.run(&[&arguments[..], output].concat()).expect(0);
        shell.run(&["-kf", "--no-mix", "-m", folder, "a"]).expect(0);
        assert_eq!(shell.run(&["-dc", "-m", folder, "a.llmz"]).expect(0).stdout, text);
        shell.run(&["-t", "-m", "tiny", "a.llmz"]).expect(3);
        for isa in Isa::available() {
            let mut command = shell.command(&["-dc", "-m", folder, "a.llmz"]);
            let output = command.env("LLMZIP_ISA", isa.name()).output().unwrap();
            assert!(output.status.success() && output.stdout == text, "{isa:?}");
        }
        shell.run(&["models", "import", folder]).expect(0);
        assert_eq!(shell.run(&["-dc", "a.llmz"]).expect(0).stdout, text);
    }
    let weights = |folder: &str| shell.read(format!("{folder}/model.safetensors")).len();
    assert!(2 * weights("tiny-int8") < weights("tiny"), "{}", weights("tiny-int8"));
    let again = ["models", "quantize", "tiny", "--int8"];
    assert!(shell.run(&again).expect(2).stderr.contains("exists already"));
    let twice = ["models", "quantize", "tiny-int8", "--int8", "-o", "twice"];
    assert!(shell.run(&twice).expect(1).stderr.contains("quantized already"));
    assert!(!shell.path("twice").exists());
    let bits = ["models", "quantize", "tiny", "--int8", "--activation-bits", "4", "-o", "four"];
    shell.run(&bits).expect(2);
    shell.run(&["models", "quantize", "tiny", "--int8", "--bits", "4", "-o", "both"]).expect(2);
    shell.run(&["models", "quantize", "tiny", "--bits", "5", "-o", "five"]).expect(2);
}

pub fn refusal(folder: &Path) -> String {
    let model = Model::open_on(folder, Isa::detect());
    model.err().expect("a malformed model was opened").to_string()
}

/// Configurations that say what llmzip cannot do.
#[test]
fn other_quantizations_are_refused() {
    let folder = folder("llama-gqa-tied");
    let cases = [
        (json!({"quant_method": "bitsandbytes", "bits": 4}), "\"bitsandbytes\""),
        (json!({"load_in_8bit": true}), "llmzip-int8"),
        (json!({"quant_method": "llmzip-int8"}), "activation_bits is null"),
        (json!({"quant_method": "llmzip-int8", "activation_bits": 4}), "activation_bits is 4"),
        (json!("llmzip-int8"), "llmzip-int8"),
    ];
    for (value, expected) in cases {
        configure(folder.path(), |config| config["quantization_config"] = value.clone());
        let message = refusal(folder.path());
        assert!(message.contains(expected), "{value}: {message}");
    }
    let good = json!({"quant_method": "llmzip-int8", "activation_bits": 8});
    configure(folder.path(), |config| {
        config["quantization_config"] = good;
        config["intermediate_size"] = json!((1 << 16) + 4);
    });
    let message = refusal(folder.path());
    assert!(message.contains("65540 inputs"), "{message}");
}

/// Tensors of a file: type, shape, bytes.
pub type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

pub fn read(path: &Path) -> Tensors {
    let file = fs::read(path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let tensor = |(name, view): (String, TensorView<'_>)| {
        (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
    };
    tensors.tensors().into_iter().map(tensor).collect()
}

pub fn write(path: &Path, tensors: &Tensors) {
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Damaged weights and scales.
#[test]
fn malformed_weights_are_refused() {
    const WEIGHT: &str = "model.layers.0.mlp.up_proj.weight";
    const SCALE: &str = "model.layers.0.mlp.up_proj.weight_scale";
    let folder = folder("llama-gqa-tied");
    let target = written(folder.path(), ActivationBits::Eight);
    let path = target.path().join("model.safetensors");
    let good = read(&path);
    assert_eq!(good[WEIGHT].0, Dtype::I8);
    assert_eq!((good[SCALE].0, good[SCALE].1.len()), (Dtype::F32, 1));
    let with = |change: &dyn Fn(&mut Tensors)| {
        let mut tensors = good.clone();
        change(&mut tensors);
        write(&path, &tensors);
        refusal(target.path())
    };
    let message = with(&|t| drop(t.remove(SCALE)));
    assert!(message.contains(SCALE) && message.contains("missing"), "{message}");
    for bad in [f32::NAN, f32::INFINITY] {
        let message =
            with(&|t| t.get_mut(SCALE).unwrap().2[..4].copy_from_slice(&bad.to_le_bytes()));
        assert!(message.contains(SCALE) && message.contains("holds"), "{message}");
    }
    let message = with(&|t| {
        let (_, shape, data) = t.get_mut(SCALE).unwrap();
        shape[0] -= 1;
        data.truncate(4 * shape[0]);
    });
    assert!(message.contains(SCALE) && message.contains("expected"), "{message}");
    let message = with(&|t| {
        t.get_mut(WEIGHT).unwrap().0 = Dtype::U8;
    });
    assert!(message.contains(WEIGHT) && message.contains("i8"), "{message}");
    write(&path, &good);
    Model::open_on(target.path(), Isa::detect()).unwrap();
    configure(target.path(), |config| {
        config.as_object_mut().unwrap().remove("quantization_config");
    });
    let message = refusal(target.path());
    assert!(message.contains("I8, expected f32, f16 or bf16"), "{message}");
}

/// What is written on the way is in the unfinished folder, which goes at a signal.
#[test]
fn no_other_folder_is_needed() {
    let shell = Shell::new();
    let mut command = shell.command(&["models", "quantize", "--int8", "-o", "int8"]);
    command.env("TMPDIR", shell.path("nowhere"));
    shell::end(command).expect(1).saying("quantized already");
    assert!(shell.names().is_empty(), "{:?}", shell.names());
}
