//! `tests/decoder/decode.py`, a second decoder in Python, written from `docs/format.md`,
//! `docs/numerics.md` and `docs/adaptive-model.md`: what it reads, those documents suffice for.

use crate::floats;
use crate::random::Random;
use crate::shell::Shell;
use crate::skip::skip;
use llmzip::archive::{
    self, AdapterName, BuiltinModels, ModelName, ModelSource, NamedSteering, Options,
};
use llmzip::models::{AdapterFiles, Model, Steering, SteeringFile};
use llmzip::ops::Isa;
use llmzip::train::SeededModel;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(path(&format!("tests/golden/good-1-{name}.llmz"))).unwrap()
}

/// Says so where the decoder cannot run.
fn is_missing() -> bool {
    let numpy = Command::new("python3").args(["-c", "import numpy"]).output();
    let missing = !numpy.is_ok_and(|output| output.status.success());
    if missing {
        skip("no python3 with numpy");
    }
    missing
}

fn run(archive: &[u8], arguments: &[&str]) -> Output {
    let mut command = Command::new("python3");
    command.arg("-B").arg(path("tests/decoder/decode.py")).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(archive).unwrap();
    child.wait_with_output().unwrap()
}

/// The content of `archive`, by the second decoder.
fn decode(archive: &[u8], name: &str) -> Vec<u8> {
    decode_with(archive, name, &[])
}

fn decode_with(archive: &[u8], name: &str, arguments: &[&str]) -> Vec<u8> {
    let output = run(archive, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
    output.stdout
}

fn golden_archives_are_read(names: &[&str]) {
    golden_archives_of_a_model_are_read(names, &BuiltinModels::new(Isa::detect()), &[]);
}

/// `arguments` give the second decoder what `models` has.
fn golden_archives_of_a_model_are_read(
    names: &[&str],
    models: &dyn ModelSource,
    arguments: &[&str],
) {
    if is_missing() {
        return;
    }
    for name in names {
        let archive = golden(name);
        let mut plain = Vec::new();
        let options = Options::default();
        archive::decompress(&archive[..], &mut plain, models, &options, &|_| ()).unwrap();
        assert!(decode_with(&archive, name, arguments) == plain, "{name} decodes otherwise");
    }
}

#[test]
fn stored_and_adaptive_archives_are_read() {
    golden_archives_are_read(&[
        "empty",
        "stored",
        "adaptive-1",
        "adaptive-2",
        "adaptive-3",
        "adaptive-4",
    ]);
}

/// Mostly those of many lanes, which the second decoder steps together: the others take it longer.
#[test]
fn archives_of_the_language_model_are_read() {
    golden_archives_are_read(&["mixed-7-lanes", "model-64-lanes", "prefix-and-table"]);
    golden_archives_are_read(&["prefix-chunks", "prefix-model", "prefix-adaptive"]);
}

#[test]
fn odd_archives_are_read() {
    golden_archives_are_read(&["130-chunks", "odd-extensions", "padded", "joined-forms"]);
}

#[test]
fn archives_of_blocks_are_read() {
    golden_archives_are_read(&["blocks-stored", "blocks-adaptive", "blocks-mixed", "blocks-model"]);
}

/// By a model from a folder, whose window does not slide.
#[test]
fn archives_whose_lanes_start_afresh_are_read() {
    let folder = path("tests/golden/no-window");
    let model = Arc::new(Model::open_on(&folder, Isa::detect()).unwrap());
    let names = ["context-mixed", "context-prefix-3-lanes", "context-model-5-lanes"];
    let arguments = ["--model", folder.to_str().unwrap()];
    golden_archives_of_a_model_are_read(&names, &model, &arguments);
}

/// The default model and the adapter in `tests/golden/adapter`.
struct Adapted(BuiltinModels);

impl ModelSource for Adapted {
    fn find(&self, wanted: &ModelName) -> llmzip::Result<Arc<Model>> {
        self.0.find(wanted)
    }

    fn find_adapter(&self, _: &AdapterName) -> llmzip::Result<AdapterFiles> {
        AdapterFiles::open(&path("tests/golden/adapter"), "adapter".into())
    }
}

#[test]
fn archives_with_an_adapter_are_read() {
    let models = Adapted(BuiltinModels::new(Isa::detect()));
    let folder = path("tests/golden/adapter");
    let arguments = ["--adapter", folder.to_str().unwrap()];
    golden_archives_of_a_model_are_read(&["adapter"], &models, &arguments);
    if is_missing() {
        return;
    }
    let output = run(&golden("adapter"), &[]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--adapter"));
}

/// Heads that learn, by both models.
#[test]
fn archives_whose_head_learns_are_read() {
    golden_archives_are_read(&["learning-head"]);
    let folder = path("tests/golden/no-window");
    let model = Arc::new(Model::open_on(&folder, Isa::detect()).unwrap());
    let arguments = ["--model", folder.to_str().unwrap()];
    golden_archives_of_a_model_are_read(&["learning-head-context"], &model, &arguments);
}

/// Adapters and a head that learn beside a model's layers.
#[test]
fn archives_whose_adapters_learn_are_read() {
    golden_archives_are_read(&["learning-adapter"]);
}

/// Recurrent networks, drawn from a seed, of which all matrices learn.
#[test]
fn archives_of_models_drawn_from_a_seed_are_read() {
    golden_archives_of_a_model_are_read(&["learning-gru", "learning-lstm"], &Drawn, &[]);
}

struct Drawn;

impl ModelSource for Drawn {
    fn find(&self, wanted: &ModelName) -> llmzip::Result<Arc<Model>> {
        let ModelName::Digest { digest, label } = wanted else { return Err(wanted.missing()) };
        let seeded = SeededModel::of_archive(digest, label).ok_or_else(|| wanted.missing())?;
        seeded.draw(Isa::detect(), u64::MAX).map(Arc::new)
    }
}

/// Carried vectors of every quantizer, and vectors of a seed by both models, and those of a file in lanes that start afresh.
#[test]
fn archives_with_steering_vectors_are_read() {
    golden_archives_are_read(&["steering-random", "steering-gauss"]);
    golden_archives_are_read(&["steering-empirical", "steering-lloyd-max"]);
    let folder = path("tests/golden/no-window");
    let model = Arc::new(Model::open_on(&folder, Isa::detect()).unwrap());
    let arguments = ["--model", folder.to_str().unwrap()];
    golden_archives_of_a_model_are_read(&["steering-random-context"], &model, &arguments);
    if is_missing() {
        return;
    }
    let network = model.network().as_transformer().unwrap();
    let steering = Steering::random(network, 2, 5).unwrap();
    let file = SteeringFile { steering, model: model.identity().hex() }.to_bytes();
    let shell = Shell::new();
    shell.write("some.steer", &file);
    let named = NamedSteering::of_file(&file, "some.steer", &model).unwrap();
    let options = Options::default().lanes(4).context(12).steering(named);
    let text = std::fs::read(path("docs/format.md")).unwrap()[..200].to_vec();
    let mut archive = Vec::new();
    archive::compress(&text[..], &mut archive, &model, &options, &|_| ()).unwrap();
    assert!(archive.windows(10).any(|bytes| bytes == b"some.steer"), "or this tests nothing");
    let steering = shell.path("some.steer");
    let with = [&arguments[..], &["--steering", steering.to_str().unwrap()]].concat();
    assert!(decode_with(&archive, "a file of vectors", &with) == text);
    let output = run(&archive, &arguments);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--steering"));
}

/// Models from folders, named by their digests, with integers in their files and activations of 16 bits.
#[test]
fn an_archive_of_a_quantized_folder_is_read() {
    if is_missing() {
        return;
    }
    let shell = Shell::new();
    std::fs::create_dir(shell.path("floats")).unwrap();
    floats::write_default(&shell.path("floats"));
    let text = std::fs::read(path("docs/format.md")).unwrap()[..200].to_vec();
    for (bits, name, len) in [("8", "int16", 200), ("4", "int4", 60)] {
        let quantize = ["models", "quantize", "--bits", bits, "--activation-bits=16", "-o", name];
        shell.run(&[&quantize[..], &["floats"]].concat()).expect(0);
        let archive = shell.pipe(&["-m", name, "--lanes=8"], &text[..len]).expect(0).stdout;
        let folder = shell.path(name);
        let arguments = ["--model", folder.to_str().unwrap()];
        assert!(decode_with(&archive, name, &arguments) == text[..len], "{name}");
    }
}

#[test]
fn long_form_archives_and_their_concatenation_are_read() {
    if is_missing() {
        return;
    }
    let models = BuiltinModels::new(Isa::detect());
    let model = models.find(&ModelName::Builtin(1)).unwrap();
    let mut random = Random::new(1);
    let mut content = std::fs::read(path("docs/format.md")).unwrap()[..3000].to_vec();
    content.extend((0..500).map(|_| random.bits() as u8));
    let mut archive = Vec::new();
    for level in 1..=3 {
        let options = Options::default().level(level).chunk_size(1000);
        archive::compress(&content[..], &mut archive, &model, &options, &|_| ()).unwrap();
    }
    assert!(decode(&archive, "levels 1 to 3") == content.repeat(3));
}

#[test]
fn damaged_archives_are_refused() {
    if is_missing() {
        return;
    }
    let archive = golden("adaptive-1");
    let mut changed = archive.clone();
    changed[archive.len() / 2] ^= 1;
    let longer = [&archive[..], b"x"].concat();
    for damaged in [&changed[..], &longer, &archive[..archive.len() - 1]] {
        let output = run(damaged, &[]);
        assert!(!output.status.success() && output.stdout.is_empty());
        assert!(String::from_utf8_lossy(&output.stderr).contains("damaged"));
    }
}
