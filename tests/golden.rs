//! Archives in `tests/golden`: every version must read them for ever, and this one must make the
//! same bytes.
//!
//! `LLMZIP_WRITE_GOLDEN=1 cargo test --release --test golden` writes those that are missing;
//! existing ones are never overwritten. A change of coded bytes needs a new format or numerics
//! version, and new files beside the old.

mod random;

use llmzip::archive::{
    self, BuiltinModels, CompressOptions, DecompressOptions, ModelName, ModelSource,
};
use llmzip::models::{DEFAULT_CODE, FLOAT_CODE};
use llmzip::ops::Isa;
use random::Random;
use std::path::{Path, PathBuf};

/// A golden archive: its name, content, model and options; more content makes it a concatenation.
struct Golden {
    name: String,
    code: u8,
    parts: Vec<Vec<u8>>,
    options: CompressOptions<'static>,
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

fn goldens() -> Vec<Golden> {
    let float = goldens_of(FLOAT_CODE, "");
    float.into_iter().chain(goldens_of(DEFAULT_CODE, "int8-")).collect()
}

fn goldens_of(code: u8, kind: &str) -> Vec<Golden> {
    let default = CompressOptions::default();
    let golden = |name: &str, parts, options| Golden {
        name: name.replacen("good-1-", &format!("good-1-{kind}"), 1),
        code,
        parts,
        options,
    };
    let no_mix = CompressOptions { mix: false, ..default };
    let chunks = CompressOptions { chunk_size: 128, lanes: Some(3), ..default };
    vec![
        golden("good-1-empty", vec![vec![]], default),
        golden("good-1-stored", vec![noise()], default),
        golden("good-1-mixed", vec![text()], default),
        golden("good-1-mixed-7-lanes", vec![text()], CompressOptions { lanes: Some(7), ..default }),
        golden("good-1-model", vec![text()], no_mix),
        golden(
            "good-1-model-64-lanes",
            vec![text()],
            CompressOptions { lanes: Some(64), ..no_mix },
        ),
        golden("good-1-adaptive-1", vec![text()], CompressOptions { level: 1, ..default }),
        golden("good-1-adaptive-2", vec![records()], CompressOptions { level: 2, ..default }),
        golden("good-1-adaptive-3", vec![records()], CompressOptions { level: 9, ..default }),
        golden("good-1-chunks", vec![[noise(), text(), records()].concat()], chunks),
        golden(
            "good-1-prefix-and-table",
            vec![text()],
            CompressOptions { prefix: "The keeper wrote: ", table_log2: 12, ..default },
        ),
        golden("good-1-joined", vec![text(), vec![], records()], default),
    ]
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.llmz"))
}

#[test]
fn golden_archives_are_read_and_made_again() {
    let models = BuiltinModels::new(Isa::detect());
    for Golden { name, code, parts, options } in goldens() {
        let model = models.find(&ModelName::Builtin(code)).unwrap();
        let mut made = Vec::new();
        for part in &parts {
            archive::compress(&part[..], &mut made, &model, &options, &|_| ()).unwrap();
        }
        if std::env::var_os("LLMZIP_WRITE_GOLDEN").is_some() && !path(&name).exists() {
            std::fs::write(path(&name), &made).unwrap();
        }
        let golden = std::fs::read(path(&name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut plain = Vec::new();
        let options = DecompressOptions::default();
        archive::decompress(&golden[..], &mut plain, &models, &options, &|_| ()).unwrap();
        assert!(plain == parts.concat(), "{name} decodes to something else");
        assert!(made == golden, "{name} is made otherwise now: coded bytes changed");
    }
}

#[test]
fn every_golden_file_is_tested() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let archives = files.filter(|path| path.extension().is_some_and(|e| e == "llmz"));
    let mut found: Vec<PathBuf> = archives.collect();
    let mut known: Vec<PathBuf> = goldens().iter().map(|golden| path(&golden.name)).collect();
    found.sort();
    known.sort();
    assert_eq!(found, known);
}
