//! Facts about a model from its files, without loading it.

use crate::error::Result;
use crate::models::ModelFolder;
use crate::models::checkpoint_files::{CONFIG, read_limited};
use crate::models::json;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longest header of a safetensors file, in bytes: the format's own limit.
const MAX_HEADER_LEN: u64 = 100_000_000;

/// Longest model card that is read, in bytes.
const MAX_CARD_LEN: u64 = 4 << 20;

/// Facts for people. What the files do not say is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// `model_type` of the configuration.
    pub architecture: Option<String>,
    /// Tokens.
    pub vocab_size: Option<u64>,
    /// Weights.
    pub n_parameters: Option<u64>,
    /// The licence that the model card names.
    pub licence: Option<String>,
}

impl Facts {
    /// The facts of the model in `folder`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where there is no whole model in
    /// it, [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn of_folder(folder: &Path) -> Result<Self> {
        let files = ModelFolder::find(folder)?;
        let config = files.config_json()?;
        let is_safetensors = |path: &Path| path.extension().is_some_and(|end| end == "safetensors");
        let n_parameters =
            |path: PathBuf| n_parameters(File::open(&path).ok().filter(|_| is_safetensors(&path))?);
        let counts = files.weights_files().map(n_parameters);
        let n_parameters = sum(counts);
        let card = read_limited(&folder.join("README.md"), MAX_CARD_LEN).unwrap_or_default();
        Ok(Self::of_files(&config, n_parameters, &String::from_utf8_lossy(&card)))
    }

    /// The facts in `config` and `weights` (safetensors) and `card`.
    pub fn of_bytes(config: &[u8], weights: &[u8], card: &str) -> Self {
        Self::of_files(config, n_parameters(weights), card)
    }

    fn of_files(config: &[u8], n_parameters: Option<u64>, card: &str) -> Self {
        let config: Value = json::parse(CONFIG, config).unwrap_or_default();
        Self {
            architecture: config["model_type"].as_str().map(str::to_owned),
            vocab_size: config["vocab_size"].as_u64(),
            n_parameters,
            licence: licence(card),
        }
    }
}

/// Weights in a safetensors file, from its header; the scales of integers are none.
fn n_parameters(mut file: impl Read) -> Option<u64> {
    let mut len = [0; 8];
    file.read_exact(&mut len).ok()?;
    let len = u64::from_le_bytes(len);
    let mut header = Vec::new();
    file.take(len.min(MAX_HEADER_LEN)).read_to_end(&mut header).ok()?;
    let header: Value = serde_json::from_slice(&header).ok()?;
    let counts = |name: &str| name != "__metadata__" && !name.ends_with("_scale");
    let tensors = header.as_object()?.iter().filter(|(name, _)| counts(name));
    let elements = |tensor: &Value| {
        let mut sizes = tensor["shape"].as_array()?.iter();
        sizes.try_fold(1u64, |product, size| product.checked_mul(size.as_u64()?))
    };
    sum(tensors.map(|(_, tensor)| elements(tensor)))
}

/// The sum, where all are known and it is a number.
fn sum(mut counts: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    counts.try_fold(0u64, |sum, n| sum.checked_add(n?))
}

/// The licence that a model card's front matter names.
fn licence(card: &str) -> Option<String> {
    let front_matter =
        card.trim_start_matches('\u{feff}').strip_prefix("---")?.split("\n---").next()?;
    let line = front_matter.lines().find_map(|line| line.strip_prefix("license:"))?;
    let licence = line.trim().trim_matches(['"', '\'']);
    (!licence.is_empty()).then(|| licence.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_card_says_the_licence() {
        let licence = |card| licence(card);
        assert_eq!(licence("---\nlanguage: en\nlicense: mit\n---\n# x").as_deref(), Some("mit"));
        assert_eq!(licence("---\nlicense: \"apache-2.0\"\n---").as_deref(), Some("apache-2.0"));
        for card in ["", "# x\nlicense: mit", "---\nlicense:\n---", "---\na: b\n---\nlicense: mit"]
        {
            assert_eq!(licence(card), None, "{card}");
        }
    }

    #[test]
    fn parameters_are_counted_from_a_header_that_is_not_trusted() {
        let file =
            |header: &str| [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
        let good = r#"{"__metadata__": {}, "a": {"shape": [2, 3]}, "b": {"shape": [4]}}"#;
        assert_eq!(n_parameters(&file(good)[..]), Some(10));
        let huge = r#"{"a": {"shape": [18446744073709551615, 2]}}"#;
        for bad in [file(huge), file(r#"{"a": 1}"#), file("{"), vec![255; 9], vec![]] {
            assert_eq!(n_parameters(&bad[..]), None);
        }
    }
}
