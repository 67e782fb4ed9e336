//! Archives in `tests/golden`: every version must read them for ever, and this one must make the
//! same bytes.
//!
//! `LLMZIP_WRITE_GOLDEN=1 cargo test --release --test library golden::` writes those that are missing;
//! existing ones are never overwritten; it writes their table in `README.md` anew. A change of coded
//! bytes needs a new format or numerics version, and new files beside the old.

use crate::handmade::golden::{accepted, refused};
use crate::handmade::{single_of, varint};
use crate::random::Random;
use llmzip::archive::{
    self, AdapterName, BuiltinModels, ModelName, ModelSource, NamedSteering, Options,
};
use llmzip::codec::{self, ChunkOptions, Codec, Parameters, Quantizer, SteeringCode};
use llmzip::models::{AdapterFiles, DEFAULT_CODE, Learning, LearningKind, Model};
use llmzip::ops::Isa;
use llmzip::train::SeededModel;
use llmzip::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// After this line of README.md comes the table.
const TABLE: &str = "<!-- written by tests/library/golden.rs -->\n";

/// A golden archive: its name, content, model and options; more content makes it a concatenation.
struct Golden {
    name: String,
    model: ModelName,
    parts: Vec<Vec<u8>>,
    options: Options,
}

fn text() -> Vec<u8> {
    let text = "The keeper of the lighthouse wrote every evening: wind, sea, ships. \
        On the third of May he wrote nothing, and on the fourth \u{2014} \u{201c}fog\u{201d}.\r\n\r\n\
        int main(void) { return 0; }\n<|endoftext|>\n";
    [text.as_bytes(), &text.as_bytes()[60..180], b"\xff\x00\xc3"].concat()
}

fn records() -> Vec<u8> {
    (0..600u32).flat_map(|i| [7, 0, (i / 50) as u8, 0xf3]).collect()
}

fn noise() -> Vec<u8> {
    let mut random = Random::new(1);
    (0..100).map(|_| random.bits() as u8).collect()
}

/// The compiled-in models, and one in a folder, whose window does not slide.
struct Models {
    builtin: BuiltinModels,
    no_window: Arc<Model>,
}

impl Models {
    fn new() -> Self {
        let isa = Isa::detect();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/no-window");
        Self {
            builtin: BuiltinModels::new(isa),
            no_window: Model::open_on(&folder, isa).unwrap().into(),
        }
    }
}

impl ModelSource for Models {
    fn find(&self, wanted: &ModelName) -> Result<Arc<Model>> {
        if let ModelName::Digest { digest, label } = wanted
            && let Some(seeded) = SeededModel::of_archive(digest, label)
        {
            return seeded.draw(Isa::detect(), u64::MAX).map(Arc::new);
        }
        self.builtin.find(wanted).or_else(|_| self.no_window.find(wanted))
    }

    fn find_adapter(&self, wanted: &AdapterName) -> Result<AdapterFiles> {
        let files = adapter();
        if files.digest() == wanted.digest { Ok(files) } else { Err(wanted.missing()) }
    }
}

/// The adapter for the default model in `tests/golden/adapter`.
fn adapter() -> AdapterFiles {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/adapter");
    AdapterFiles::open(&folder, "adapter".into()).unwrap()
}

/// Name of the archive that is made with it.
const ADAPTED: &str = "good-1-adapter";

/// Name of the archive whose chunk says that it learns.
const LEARNED: &str = "good-1-learning-method";

fn goldens(models: &Models) -> Vec<Golden> {
    let contexts = goldens_of_contexts(ModelName::of(models.no_window.identity()));
    let learning = goldens_of_learning(ModelName::of(models.no_window.identity()));
    let goldens = goldens_of_default().into_iter().chain(contexts);
    let goldens = goldens.chain(goldens_of_steering(models));
    goldens.chain(goldens_of_carried_steering(models)).chain(learning).collect()
}

/// Archives whose model learns while it codes.
fn goldens_of_learning(no_window: ModelName) -> Vec<Golden> {
    let learning = |kind| Learning { kind, tokens_log2: 4, rate: 3000 };
    let golden = |name: &str, model: ModelName, options: Options| Golden {
        name: format!("good-1-learning-{name}"),
        model,
        parts: vec![text()],
        options,
    };
    let default = ModelName::Builtin(DEFAULT_CODE);
    let head = Options::default().lanes(7).learning(learning(LearningKind::Head));
    let all = Options::default().lanes(7).learning(learning(LearningKind::All));
    let adapter = Options::default().lanes(7);
    let adapter = adapter.learning(Learning { tokens_log2: 5, ..learning(LearningKind::Adapter) });
    let prefixed = head.clone().mix(false).lanes(3).context(16).prefix(b"The keeper wrote: ");
    let seeded = |name: &str| {
        let seeded: SeededModel = name.parse().unwrap();
        let options = all.clone().mix(false).lanes(5).prefix(b"The keeper wrote: ");
        golden(name.split(':').nth(1).unwrap(), ModelName::of(&seeded.identity()), options)
    };
    let drawn = ["seed:gru:64:42", "seed:lstm:128x2:7", "seed:llama:64x2:18446744073709551615"];
    let drawn = drawn.map(seeded);
    let fixed = [
        golden("head", default.clone(), head),
        golden("all-chunks", default.clone(), all.chunk_size(200)),
        // A short one: the decoder in Python is slow at it.
        Golden { parts: vec![text()[..150].to_vec()], ..golden("adapter", default, adapter) },
        golden("head-context", no_window, prefixed),
    ];
    fixed.into_iter().chain(drawn).collect()
}

/// Archives with steering vectors.
fn goldens_of_steering(models: &Models) -> Vec<Golden> {
    let golden = |name: &str, model: ModelName, options: Options| {
        let steering = NamedSteering::random(&models.find(&model).unwrap(), 3, 1 << 40).unwrap();
        Golden {
            name: format!("good-1-steering-{name}"),
            model,
            parts: vec![text()],
            options: options.steering(steering),
        }
    };
    let no_window = ModelName::of(models.no_window.identity());
    let prefixed = Options::default().mix(false).lanes(3).context(16).prefix(b"The keeper wrote: ");
    vec![
        golden("random", ModelName::Builtin(DEFAULT_CODE), Options::default().lanes(7)),
        golden("random-context", no_window, prefixed),
    ]
}

/// Archives that carry their steering vectors, by each quantizer: from a token's embedding, from that of
/// one that is not codable, and from zeros.
fn goldens_of_carried_steering(models: &Models) -> Vec<Golden> {
    let model = ModelName::Builtin(DEFAULT_CODE);
    let loaded = models.find(&model).unwrap();
    let bits = |x: f32| (x.to_bits() >> 16) as u16;
    let levels = [-0.25, -0.125, 0.0, 0.125, 0.375].map(bits).into();
    let quantizers = [
        ("gauss", Quantizer::Gauss { step: bits(0.03125), deviation: bits(2.5) }, 20),
        ("empirical", Quantizer::Empirical { step: bits(0.03125) }, 40),
        ("lloyd-max", Quantizer::LloydMax { levels }, 2),
    ];
    let golden = |(name, quantizer, most): (&str, Quantizer, i32)| {
        let mut random = Random::new(2);
        let width = loaded.network().as_transformer().unwrap().shape().hidden_size;
        let mut integer = || match random.bits() % 8 {
            0 => random.bits() as i32 % (most + 1),
            1 | 2 => random.bits() as i32 % 2,
            _ => 0,
        };
        let starts = vec![Some(300), Some(0), None];
        let integers = (0..starts.len() * width).map(|_| integer()).collect();
        let code = SteeringCode { quantizer, starts, integers };
        let steering = NamedSteering::carried(&loaded, &code).unwrap();
        Golden {
            name: format!("good-1-steering-{name}"),
            model: model.clone(),
            parts: vec![text()[..100].to_vec()],
            options: Options::default().mix(false).lanes(8).steering(steering),
        }
    };
    quantizers.map(golden).into()
}

/// Archives whose lanes start afresh.
fn goldens_of_contexts(model: ModelName) -> Vec<Golden> {
    let golden = |name: &str, options| Golden {
        name: format!("good-1-context-{name}"),
        model: model.clone(),
        parts: vec![text()],
        options,
    };
    let context = |len, lanes| Options::default().context(len).lanes(lanes);
    let prefix = b"The keeper wrote: ";
    vec![
        golden("mixed", context(40, 1)),
        golden("prefix-3-lanes", context(16, 3).prefix(prefix)),
        golden("model-5-lanes", context(7, 5).mix(false).chunk_size(200)),
    ]
}

fn goldens_of_default() -> Vec<Golden> {
    let default = Options::default();
    let golden = |name: &str, parts, options| Golden {
        name: name.into(),
        model: ModelName::Builtin(DEFAULT_CODE),
        parts,
        options,
    };
    let no_mix = default.clone().mix(false);
    let chunks = default.clone().chunk_size(128).lanes(3);
    vec![
        golden("good-1-empty", vec![vec![]], default.clone()),
        golden("good-1-stored", vec![noise()], default.clone()),
        golden("good-1-mixed", vec![text()], default.clone()),
        golden("good-1-mixed-7-lanes", vec![text()], default.clone().lanes(7)),
        golden("good-1-model", vec![text()], no_mix.clone()),
        golden("good-1-model-64-lanes", vec![text()], no_mix.clone().lanes(64)),
        golden("good-1-adaptive-1", vec![text()], default.clone().level(1)),
        golden("good-1-adaptive-2", vec![records()], default.clone().level(2)),
        golden("good-1-adaptive-3", vec![records()], default.clone().level(3)),
        golden("good-1-adaptive-4", vec![records()], default.clone().level(9)),
        golden("good-1-chunks", vec![[noise(), text(), records()].concat()], chunks),
        golden(
            "good-1-prefix-and-table",
            vec![text()],
            default.clone().prefix(b"The keeper wrote: ").table_log2(12),
        ),
        golden(
            "good-1-prefix-chunks",
            vec![[records(), text(), text()].concat()],
            default.clone().prefix(b"The keeper wrote: ").chunk_size(300),
        ),
        golden(
            "good-1-prefix-model",
            vec![text()],
            no_mix.clone().prefix(b"The keeper wrote: ").lanes(2),
        ),
        golden(
            "good-1-prefix-adaptive",
            vec![text()],
            default.clone().prefix(b"The keeper wrote: ").level(1),
        ),
        golden("good-1-joined", vec![text(), vec![], records()], default.clone()),
        golden(
            "good-1-blocks-adaptive",
            vec![[noise(), text(), records()].concat(), text()],
            default.clone().level(1).block_len(512),
        ),
        golden(
            "good-1-blocks-mixed",
            vec![[text(), text()].concat()],
            default.clone().block_len(512).prefix(b"The keeper wrote: "),
        ),
        golden("good-1-blocks-model", vec![text()], no_mix.clone().block_len(512)),
    ]
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.llmz"))
}

/// `made`, if it is time to write it, and what the file has.
fn file_of(name: &str, made: &[u8]) -> Vec<u8> {
    if is_writing() && !path(name).exists() {
        std::fs::write(path(name), made).unwrap();
    }
    std::fs::read(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn is_writing() -> bool {
    std::env::var_os("LLMZIP_WRITE_GOLDEN").is_some()
}

fn decompress(archive: &[u8], models: &Models) -> (Vec<u8>, Result<()>) {
    let (mut plain, options) = (Vec::new(), Options::default());
    let result = archive::decompress(archive, &mut plain, models, &options, &|_| ());
    (plain, result.map(drop))
}

#[test]
fn golden_archives_are_read_and_made_again() {
    let models = Models::new();
    for Golden { name, model, parts, options } in goldens(&models) {
        let model = models.find(&model).unwrap();
        let mut made = Vec::new();
        for part in &parts {
            archive::compress(&part[..], &mut made, &model, &options, &|_| ()).unwrap();
        }
        let golden = file_of(&name, &made);
        let (plain, result) = decompress(&golden, &models);
        result.unwrap();
        assert!(plain == parts.concat(), "{name} decodes to something else");
        assert!(made == golden, "{name} is made otherwise now: coded bytes changed");
    }
}

#[test]
fn the_golden_archive_with_an_adapter_is_read_and_made_again() {
    let models = Models::new();
    let model = models.find(&ModelName::Builtin(DEFAULT_CODE)).unwrap();
    let model = model.with_adapter(&adapter()).unwrap();
    let (mut made, options) = (Vec::new(), Options::default().lanes(7));
    archive::compress(&text()[..], &mut made, &model, &options, &|_| ()).unwrap();
    let golden = file_of(ADAPTED, &made);
    let (plain, result) = decompress(&golden, &models);
    result.unwrap();
    assert!(plain == text(), "it decodes to something else");
    assert!(made == golden, "it is made otherwise now: coded bytes changed");
}

/// A chunk of the method *learning*, which the encoder leaves to long ones, in a stream that says nothing of it.
#[test]
fn the_golden_archive_of_a_chunk_that_learns_is_read_and_made_again() {
    let models = Models::new();
    let model = models.find(&ModelName::Builtin(DEFAULT_CODE)).unwrap();
    let plain = text().repeat(4);
    let learning = Learning { kind: LearningKind::Head, tokens_log2: 9, rate: 500 };
    let parameters = Parameters { learning: Some(learning), ..Parameters::DEFAULT };
    let codec = Codec { parameters: &parameters, ..Codec::new(&model, 1) };
    let options = ChunkOptions { level: 9, lanes: Some(7), mix: true };
    let coded = codec::encode(codec, &plain, &options).unwrap();
    let lens = [plain.len(), coded.payload.len()].map(|len| varint(len as u64)).concat();
    let fields = [&[0x80 | DEFAULT_CODE, 4 - 2, 7 - 1][..], &lens].concat();
    let checked = single_of(&fields, &[&plain, &coded.payload[..]].concat());
    let head = checked.len() - plain.len() - coded.payload.len();
    let made = [&checked[..head], &coded.payload].concat();
    let golden = file_of(LEARNED, &made);
    let (read, result) = decompress(&golden, &models);
    result.unwrap();
    assert!(read == plain, "it decodes to something else");
    assert!(made == golden, "it is made otherwise now: coded bytes changed");
}

#[test]
fn golden_archives_of_other_makers_are_read() {
    let models = Models::new();
    for ((name, _, made), expected) in accepted() {
        let (plain, result) = decompress(&file_of(&name, &made), &models);
        result.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(plain == expected, "{name} decodes to something else");
    }
}

/// The table in README.md has for each file that must be refused the error that it must give.
#[test]
fn golden_archives_to_be_refused_are_refused_with_their_error() {
    let models = Models::new();
    let mut table = String::from("| file | reason | error |\n| --- | --- | --- |\n");
    for ((name, reason, _), _) in accepted() {
        table += &format!("| {name} | {reason} | |\n");
    }
    for (name, reason, made) in refused() {
        let golden = file_of(&name, &made);
        let error = decompress(&golden, &models).1.expect_err(&name);
        let kind = error.kind();
        table += &format!("| {name} | {reason} | {kind:?}: {error} |\n");
        let is_newer = matches!(kind, ErrorKind::Unsupported | ErrorKind::ModelMissing);
        assert_eq!(is_newer, name.starts_with("unsupported-"), "{name}: {error}");
    }
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/README.md");
    let text = std::fs::read_to_string(&readme).unwrap();
    let (before, written) = text.split_once(TABLE).unwrap();
    if is_writing() {
        return std::fs::write(readme, format!("{before}{TABLE}{table}")).unwrap();
    }
    for (written, made) in written.lines().zip(table.lines()) {
        assert_eq!(written, made, "the error is another now");
    }
    assert_eq!(written.lines().count(), table.lines().count());
}

#[test]
fn every_golden_file_is_tested() {
    if is_writing() {
        return; // they are being written
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let archives = files.filter(|path| path.extension().is_some_and(|e| e == "llmz"));
    let mut found: Vec<PathBuf> = archives.collect();
    let made = goldens(&Models::new()).into_iter().map(|golden| golden.name);
    let odd = accepted().into_iter().map(|((name, _, _), _)| name);
    let made = made.chain([ADAPTED, LEARNED].map(str::to_owned));
    let names = made.chain(odd).chain(refused().into_iter().map(|(name, _, _)| name));
    let mut known: Vec<PathBuf> = names.map(|name| path(&name)).collect();
    found.sort();
    known.sort();
    let unknown: Vec<_> = found.iter().filter(|path| !known.contains(path)).collect();
    assert!(found == known, "{} files of {}, unknown {unknown:?}", found.len(), known.len());
    assert!(known.len() >= 60, "{}", known.len());
}
