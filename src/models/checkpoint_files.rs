//! Which files make a model: the same choice where it is downloaded, found, hashed and copied.

use super::{invalid, json};
use crate::error::{Error, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The file that says what a model is.
pub const CONFIG: &str = "config.json";

/// Largest configuration or index that is read into memory, in bytes.
pub const MAX_JSON_LEN: u64 = 64 << 20;

/// Most files that weights may be cut into.
const MAX_SHARDS: usize = 1000;

/// How weights are kept, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsFormat {
    /// One safetensors file.
    Safetensors,
    /// Several, and an index of them.
    SafetensorsShards,
    /// One PyTorch pickle.
    Pickle,
    /// Several, and an index of them.
    PickleShards,
    /// A GGUF file, which has configuration and tokenizer, too.
    Gguf,
}

impl WeightsFormat {
    const ALL: [Self; 4] =
        [Self::Safetensors, Self::SafetensorsShards, Self::Pickle, Self::PickleShards];

    /// The file that shows this form: the weights or their index.
    pub fn file(self) -> &'static str {
        match self {
            Self::Safetensors => "model.safetensors",
            Self::SafetensorsShards => "model.safetensors.index.json",
            Self::Pickle => "pytorch_model.bin",
            Self::PickleShards => "pytorch_model.bin.index.json",
            Self::Gguf => "model.gguf",
        }
    }

    /// Whether [`WeightsFormat::file`] is an index.
    pub fn is_index(self) -> bool {
        matches!(self, Self::SafetensorsShards | Self::PickleShards)
    }

    /// How the names of its weights end.
    fn suffix(self) -> &'static str {
        match self {
            Self::Safetensors | Self::SafetensorsShards => ".safetensors",
            Self::Pickle | Self::PickleShards => ".bin",
            Self::Gguf => ".gguf",
        }
    }

    /// The files that `index` names: single normal components, in order of name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where it is no index, or names
    /// anything else.
    pub fn shards(self, index: &[u8]) -> Result<Vec<String>> {
        let failed = |what: String| invalid(format!("{}: {what}", self.file()));
        let index: Value = json::parse(self.file(), index)?;
        let map = index["weight_map"].as_object();
        let map = map.ok_or_else(|| failed("has no weight_map".to_owned()))?;
        let mut shards = BTreeSet::new();
        for value in map.values() {
            let name = value.as_str().unwrap_or_default();
            if !is_file_name(name) || !name.ends_with(self.suffix()) {
                let expected = format!("expected a file's name that ends with {}", self.suffix());
                return Err(failed(format!("names the shard {value}, {expected}")));
            }
            shards.insert(name.to_owned());
        }
        match shards.len() {
            1..=MAX_SHARDS => Ok(shards.into_iter().collect()),
            n => Err(failed(format!("names {n} shards, expected 1 to {MAX_SHARDS}"))),
        }
    }
}

/// The files of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointFiles {
    /// How weights are kept.
    pub weights_format: WeightsFormat,
    /// Files with weights, in order of name.
    pub weights: Vec<String>,
    /// Files of the tokenizer.
    pub tokenizer: Vec<&'static str>,
}

impl CheckpointFiles {
    /// The form of a model among whose files are those that `has` knows. Where weights come in
    /// shards, `read` gives the index.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where something is missing;
    /// those of `read`.
    pub fn choose(
        has: impl Fn(&str) -> bool,
        read: impl FnOnce(&str) -> Result<Vec<u8>>,
    ) -> Result<Self> {
        if !has(CONFIG) {
            return match has(WeightsFormat::Gguf.file()) {
                true => Ok(Self::gguf(WeightsFormat::Gguf.file())),
                false => Err(invalid("has no config.json, and no model.gguf")),
            };
        }
        let tokenizer = tokenizer_files(&has)?;
        let weights_format = WeightsFormat::ALL.into_iter().find(|form| has(form.file()));
        let expected = "expected model.safetensors or pytorch_model.bin, whole or with an index";
        let weights_format =
            weights_format.ok_or_else(|| invalid(format!("has no weights: {expected}")))?;
        let weights = match weights_format.is_index() {
            true => weights_format.shards(&read(weights_format.file())?)?,
            false => vec![weights_format.file().to_owned()],
        };
        match weights.iter().find(|name| !has(name)) {
            Some(shard) => Err(invalid(format!("has no {shard}, which its index names"))),
            None => Ok(Self { weights_format, weights, tokenizer }),
        }
    }

    /// The form of a model that is the GGUF file of that name.
    pub fn gguf(name: &str) -> Self {
        let weights = vec![name.to_owned()];
        Self { weights_format: WeightsFormat::Gguf, weights, tokenizer: Vec::new() }
    }

    /// The form of the model in `folder`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where there is no whole model in
    /// it, [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn of_folder(folder: &Path) -> Result<Self> {
        let read = |name: &str| read_limited(&folder.join(name), MAX_JSON_LEN);
        Self::choose(|name| folder.join(name).is_file(), read).map_err(|e| e.at(folder.display()))
    }

    /// The files that make up the model's identity, in that order.
    pub fn identity_files(&self) -> Vec<&str> {
        let weights = self.weights.iter().map(String::as_str);
        let config = (self.weights_format != WeightsFormat::Gguf).then_some(CONFIG);
        config.into_iter().chain(weights).chain(self.tokenizer.iter().copied()).collect()
    }

    /// All files that the model is loaded from.
    pub fn files(&self) -> Vec<&str> {
        let index = self.weights_format.is_index().then_some(self.weights_format.file());
        self.identity_files().into_iter().chain(index).collect()
    }

    /// For people: the format of the weights, and in how many files they are.
    pub fn description(&self) -> String {
        let format = match self.weights_format {
            WeightsFormat::Safetensors | WeightsFormat::SafetensorsShards => "safetensors",
            WeightsFormat::Pickle | WeightsFormat::PickleShards => "pytorch",
            WeightsFormat::Gguf => "gguf",
        };
        match self.weights.len() {
            1 => format.to_owned(),
            n => format!("{format}, {n} shards"),
        }
    }
}

/// The tokenizer's files, best first.
fn tokenizer_files(has: &impl Fn(&str) -> bool) -> Result<Vec<&'static str>> {
    for single in ["tokenizer.json", "tokenizer.model"] {
        if has(single) {
            return Ok(vec![single]);
        }
    }
    let mut files = vec!["vocab.json", "merges.txt"];
    if files.iter().all(|name| has(name)) {
        files.extend(Some("tokenizer_config.json").filter(|name| has(name)));
        return Ok(files);
    }
    Err(invalid(
        "has no tokenizer: expected tokenizer.json, tokenizer.model, or vocab.json and merges.txt",
    ))
}

/// The bytes of the file `path`, of which there are at most `limit`.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io);
/// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where there are more.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let failed = |e| Error::io(format!("reading {}", path.display()), e);
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(invalid(format!("{} is not a regular file", path.display()))); // a pipe waits
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > limit {
        true => Err(invalid(format!("{} has more than {limit} bytes", path.display()))),
        false => Ok(bytes),
    }
}

/// Whether `name` is a file's name and nothing else: no folder, no `..`, nothing hidden.
pub fn is_file_name(name: &str) -> bool {
    name.len() <= 200 && is_word(name)
}

/// Whether `part` has only harmless characters and begins with a letter, a digit or `_`.
pub fn is_word(part: &str) -> bool {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let begins = part.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    begins && part.bytes().all(harmless) && !part.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn choose(names: &[&str], index: &str) -> Result<CheckpointFiles> {
        CheckpointFiles::choose(|name| names.contains(&name), |_| Ok(index.as_bytes().to_vec()))
    }

    const INDEX: &str = r#"{"weight_map": {"x": "b.safetensors", "y": "a.safetensors",
        "z": "b.safetensors"}}"#;

    #[test]
    fn the_best_form_is_chosen() {
        let all = [
            "config.json",
            "tokenizer.json",
            "tokenizer.model",
            "vocab.json",
            "merges.txt",
            "model.safetensors",
            "model.safetensors.index.json",
            "a.safetensors",
            "b.safetensors",
            "pytorch_model.bin",
        ];
        let without = |left_out: &[&str]| {
            let names: Vec<_> = all.into_iter().filter(|n| !left_out.contains(n)).collect();
            choose(&names, INDEX).map(|form| form.identity_files().join(" "))
        };
        let ok = |files: &str| Ok::<_, String>(files.to_owned());
        let files = |left_out| without(left_out).map_err(|e| e.to_string());
        assert_eq!(files(&[]), ok("config.json model.safetensors tokenizer.json"));
        assert_eq!(
            files(&["model.safetensors", "tokenizer.json"]),
            ok("config.json a.safetensors b.safetensors tokenizer.model")
        );
        let pickle = ["model.safetensors", "model.safetensors.index.json"];
        assert_eq!(
            files(&[&pickle[..], &["tokenizer.json", "tokenizer.model"]].concat()),
            ok("config.json pytorch_model.bin vocab.json merges.txt")
        );
        for missing in [&["config.json"][..], &["model.safetensors", "b.safetensors"]] {
            let error = without(missing).unwrap_err().to_string();
            assert!(error.contains(missing.last().unwrap()), "{error}");
        }
        let names = &["tokenizer.json", "tokenizer.model", "merges.txt"];
        assert!(without(names).unwrap_err().to_string().contains("no tokenizer"));
        let names = &[&pickle[..], &["pytorch_model.bin"]].concat();
        assert!(without(names).unwrap_err().to_string().contains("no weights"));
    }

    #[test]
    fn hostile_indexes_are_refused() {
        let many: Vec<_> =
            (0..=MAX_SHARDS).map(|i| format!("\"{i}\": \"{i}.safetensors\"")).collect();
        let many = format!("{{\"weight_map\": {{{}}}}}", many.join(", "));
        let named = |shard: &str| format!(r#"{{"weight_map": {{"w": {shard}}}}}"#);
        for index in [
            "",
            "{}",
            "[]",
            r#"{"weight_map": []}"#,
            r#"{"weight_map": {}}"#,
            &named("1"),
            &named(r#""../x.safetensors""#),
            &named(r#""a/b.safetensors""#),
            &named(r#""/etc/x.safetensors""#),
            &named(r#""..\\x.safetensors""#),
            &named(r#"".safetensors""#),
            &named(r#""x.bin""#),
            &named(r#""x\u0000.safetensors""#),
            &many,
        ] {
            let error = WeightsFormat::SafetensorsShards.shards(index.as_bytes()).expect_err(index);
            assert_eq!(error.kind(), ErrorKind::InvalidModel, "{index}");
        }
    }

    #[test]
    fn file_names_are_single_normal_components() {
        assert!(is_file_name("model-00001-of-00002.safetensors"));
        for name in ["", ".", "..", "a/b", "/a", "../a", "a\\b", ".hidden", "a\0", "C:a"] {
            assert!(!is_file_name(name), "{name}");
        }
    }
}
