//! Models in GGUF files.

use crate::family::folder;
use crate::gguf::GgufFile;
use llmzip::Parameters;
use llmzip::codec::{self, ChunkOptions, Codec};
use llmzip::models::{Context, Model};
use llmzip::{ErrorKind, Isa};
use std::path::Path;

/// Models that such files can hold.
const FAMILIES: [&str; 4] = ["llama-gqa-tied", "llama-mha-untied-bf16", "qwen2-tied", "qwen3-tied"];

fn open(path: &Path) -> llmzip::Result<Model> {
    Model::open_on(path, Isa::detect())
}

fn payload(model: &Model) -> Vec<u8> {
    let text = b"the cat and the hat in the box, again and again. \xff\n".repeat(9);
    let parameters = Parameters { context: Some(Context::new(20)), ..Parameters::default() };
    let codec = Codec { parameters: &parameters, ..Codec::new(model, 2) };
    let options = ChunkOptions { level: 9, lanes: Some(3), mix: false };
    codec::encode(codec, &text, &options).unwrap().payload.into_owned()
}

/// The same bits as from the folder.
#[test]
fn a_file_is_the_model_that_the_folder_is() {
    for name in FAMILIES {
        let folder = folder(name);
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, GgufFile::of_folder(folder.path()).to_bytes()).unwrap();
        let [from_folder, from_file] = [folder.path(), &path].map(|path| open(path).unwrap());
        assert!(payload(&from_folder) == payload(&from_file), "{name}");
        assert_ne!(from_folder.identity().digest, from_file.identity().digest, "{name}");
    }
}

/// A folder with nothing but the file, as imports are, has the digest of the file.
#[test]
fn a_folder_may_hold_nothing_else() {
    let folder = folder(FAMILIES[0]);
    let file = GgufFile::of_folder(folder.path()).to_bytes();
    let [alone, any] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    std::fs::write(alone.path().join("model.gguf"), &file).unwrap();
    std::fs::write(any.path().join("any.gguf"), &file).unwrap();
    let found = open(&any.path().join("any.gguf")).unwrap();
    assert_eq!(open(alone.path()).unwrap().identity().digest, found.identity().digest);
    assert_eq!(found.identity().label, "any.gguf");
    let len = (file.len() as u64).to_le_bytes();
    let digest = blake3::Hasher::new().update(&len).update(&file).finalize();
    assert_eq!(found.identity().digest, *digest.as_bytes());
}

#[test]
fn what_is_not_computed_is_refused() {
    let folder = folder(FAMILIES[0]);
    let path = folder.path().join("model.gguf");
    let refused = |change: &dyn Fn(&mut GgufFile), said: &str| {
        let mut file = GgufFile::of_folder(folder.path());
        change(&mut file);
        std::fs::write(&path, file.to_bytes()).unwrap();
        let error = open(&path).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidModel);
        assert!(error.to_string().contains(said), "{error}");
    };
    refused(&|file| file.text("llama.rope.scaling.type", "linear"), "scaled rotary positions");
    refused(&|file| file.number("llama.rope.dimension_count", 4), "rope.dimension_count is 4");
    refused(&|file| file.number("general.architecture", 1), "stands twice");
    refused(&|file| file.number("llama.expert_count", 8), "llama.expert_count is 8");
    refused(&|file| file.number("llama.attention.sliding_window", 8), "sliding_window is 8");
    refused(&|file| file.fraction("llama.rope.scaling.factor", 2.0), "scaled rotary positions");
    refused(&|file| file.tensor("rope_freqs.weight", 8), "scaled rotary positions");
    for name in ["blk.0.attn_q.bias", "blk.2.attn_q.weight", "blk.00.attn_q.weight", "other"] {
        refused(&|file| file.tensor(name, 8), &format!("unknown tensor {name}"));
    }
    let mut other = GgufFile::default();
    other.text("general.architecture", "mamba");
    std::fs::write(&path, other.to_bytes()).unwrap();
    assert!(
        open(&path).err().unwrap().to_string().contains("'mamba', expected llama, qwen2 or qwen3")
    );
}

/// Scales and minima of four-bit blocks must be numbers.
#[test]
fn blocks_without_numbers_are_refused() {
    let folder = folder("qwen3-tied");
    let path = folder.path().join("model.gguf");
    let open_with = |kind: u32, scale: u16, minimum: u16| {
        let mut file = GgufFile::of_folder(folder.path());
        let block = [
            &scale.to_le_bytes()[..],
            &minimum.to_le_bytes()[..2 * (kind as usize - 2)],
            &[0x98; 16],
        ]
        .concat();
        file.blocks("model.layers.0.mlp.down_proj.weight", kind, &block.repeat(64 * 160 / 32));
        std::fs::write(&path, file.to_bytes()).unwrap();
        open(&path).map(|_| ())
    };
    let [one, infinity, nan] = [0x3c00, 0x7c00, 0x7e00];
    open_with(2, one, 0).unwrap();
    open_with(3, one, one).unwrap();
    for (kind, scale, minimum, said) in
        [(2, infinity, 0, "scale inf"), (2, nan, 0, "scale NaN"), (3, one, infinity, "offset inf")]
    {
        let error = open_with(kind, scale, minimum).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("layers.0.mlp.down_proj"), "{error}");
    }
}

/// Wherever a file is cut or a bit of its header changed: an error or a model, and no panic.
#[test]
fn damaged_files_are_errors() {
    let folder = folder(FAMILIES[0]);
    let path = folder.path().join("model.gguf");
    let file = GgufFile::of_folder(folder.path()).to_bytes();
    for len in (0..file.len()).step_by(file.len() / 150) {
        std::fs::write(&path, &file[..len]).unwrap();
        assert_eq!(open(&path).err().unwrap().kind(), ErrorKind::InvalidModel, "{len} bytes");
    }
    let header = file.windows(17).rposition(|bytes| bytes == b"output_norm.weigh").unwrap() + 60;
    for at in (0..header).step_by(header / 400) {
        let mut changed = file.clone();
        changed[at] ^= 1 << (at % 8);
        std::fs::write(&path, &changed).unwrap();
        if let Err(error) = open(&path) {
            assert_eq!(error.kind(), ErrorKind::InvalidModel, "byte {at}: {error}");
        }
    }
}
