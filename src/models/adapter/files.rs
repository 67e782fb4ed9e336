//! The two files of an adapter, in memory.

use super::config::{self, AdapterConfig, CONFIG};
use super::modules::modules;
use super::{AdaptableModule, AdaptedModule, Adapter, invalid};
use crate::error::Result;
use crate::models::checkpoint_files::{MAX_JSON_LEN, read_limited};
use crate::models::config::{Config, Family};
use crate::models::weights::{Weights, hashed};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;
use std::path::Path;

/// The name of the file of weights.
const WEIGHTS: &str = "adapter_model.safetensors";

/// Begin and end of names of tensors.
const PREFIX: &str = "base_model.model.";
const A: &str = ".lora_A.weight";
const B: &str = ".lora_B.weight";

/// The files of an adapter and its name, as they stand on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterFiles {
    label: String,
    config: Vec<u8>,
    weights: Vec<u8>,
}

impl AdapterFiles {
    /// Names of the files, in the order in which the digest takes them.
    pub const NAMES: [&str; 2] = [CONFIG, WEIGHTS];

    /// Largest file of weights, in bytes.
    pub const MAX_WEIGHTS_LEN: u64 = 1 << 30;

    /// Takes the files' bytes; archives call the adapter `label`.
    pub fn new(label: String, config: Vec<u8>, weights: Vec<u8>) -> Self {
        Self { label, config, weights }
    }

    /// Reads the files in `folder`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if one cannot be read,
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if it is too large or no file.
    pub fn open(folder: &Path, label: String) -> Result<Self> {
        let config = read_limited(&folder.join(CONFIG), MAX_JSON_LEN)?;
        let weights = read_limited(&folder.join(WEIGHTS), Self::MAX_WEIGHTS_LEN)?;
        Ok(Self { label, config, weights })
    }

    /// Returns the name that archives carry.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Returns the files' bytes, in the order of [`AdapterFiles::NAMES`].
    pub fn bytes(&self) -> [&[u8]; 2] {
        [&self.config, &self.weights]
    }

    /// Computes BLAKE3 over each file's length (64 bits, little-endian) and bytes.
    pub fn digest(&self) -> [u8; 32] {
        self.bytes().into_iter().fold(blake3::Hasher::new(), hashed).finalize().into()
    }

    /// Checks what can be without the model, and returns the rank.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where a file makes no sense.
    pub fn check(&self) -> Result<usize> {
        Weights::parse(&self.weights).map_err(|e| e.at(WEIGHTS))?;
        Ok(AdapterConfig::parse(&self.config)?.adapter().rank)
    }

    /// Reads the adapter, which is for a network of `config`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where it is not.
    pub fn parse(&self, config: &Config) -> Result<Adapter> {
        let read = || -> Result<Adapter> {
            let own = AdapterConfig::parse(&self.config)?;
            let weights = Weights::parse(&self.weights).map_err(|e| e.at(WEIGHTS))?;
            let mut adapter = own.adapter();
            adapter.modules = read_modules(&weights, config, adapter.rank)?;
            let is_adapted = |target: &&str| {
                let is_it = |name: &str| {
                    name.strip_suffix(*target)
                        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                };
                adapter.modules.iter().any(|adapted| is_it(&adapted.module.name))
            };
            if let Some(target) = own.targets().find(|target| !is_adapted(target)) {
                let target = target.escape_debug();
                let message = format!("{CONFIG} names the module {target}: no tensor is for it");
                return Err(invalid(message));
            }
            Ok(adapter)
        };
        read().map_err(|e| e.at(format!("adapter {}", self.label.escape_debug())))
    }

    /// Writes the files of `adapter` for the model `base` of `config`.
    pub fn of_adapter(label: String, adapter: &Adapter, base: &str, config: &Config) -> Self {
        let mut tensors = Vec::new();
        for AdaptedModule { module, a, b } in &adapter.modules {
            let bytes = |x: &[f32]| x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
            let mut stored = vec![0.0; b.len()];
            for (i, row) in b.chunks_exact(adapter.rank).enumerate() {
                let to = module.stored_row(i) * adapter.rank;
                stored[to..][..adapter.rank].copy_from_slice(row);
            }
            let name = |end| format!("{PREFIX}{}{end}", module.name);
            tensors.push((name(A), vec![adapter.rank, module.inputs], bytes(a)));
            tensors.push((name(B), vec![module.outputs, adapter.rank], bytes(&stored)));
        }
        let views = tensors.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            (name, view.expect("four bytes a number"))
        });
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let weights = safetensors::serialize(views, Some(metadata)).expect("names are distinct");
        let config = config::to_bytes(adapter, base, config.family == Family::Gpt2);
        Self { label, config, weights }
    }
}

/// Reads all tensors, of which there must be none but those of modules.
fn read_modules(weights: &Weights<'_>, config: &Config, rank: usize) -> Result<Vec<AdaptedModule>> {
    let all = modules(config);
    let mut names = HashMap::new();
    for name in weights.names() {
        let module = name.strip_prefix(PREFIX).and_then(|rest| {
            let own = rest.strip_suffix(A).or_else(|| rest.strip_suffix(B))?;
            Some((own, all.iter().position(|module| module.is(own))?))
        });
        let Some((own, index)) = module else { return Err(unexpected(name, &all)) };
        if names.insert(index, own).is_some_and(|other| other != own) {
            return Err(invalid(format!(
                "tensor {}: the module has two names",
                name.escape_debug()
            )));
        }
    }
    let read = |(index, module): (usize, AdaptableModule)| {
        let own = names.get(&index)?;
        let tensor =
            |end, shape: [usize; 2]| weights.tensor(&format!("{PREFIX}{own}{end}"), &shape);
        let read = || {
            let a = tensor(A, [rank, module.inputs])?;
            let stored = tensor(B, [module.outputs, rank])?;
            let rows = (0..module.outputs).map(|i| &stored[module.stored_row(i) * rank..][..rank]);
            let b = rows.flatten().copied().collect();
            Ok(AdaptedModule { module: module.clone(), a, b })
        };
        Some(read())
    };
    let modules = all.iter().cloned().enumerate().filter_map(read).collect::<Result<Vec<_>>>()?;
    match modules.is_empty() {
        true => Err(invalid(format!("{WEIGHTS} has no tensors"))),
        false => Ok(modules),
    }
}

fn unexpected(name: &str, all: &[AdaptableModule]) -> crate::Error {
    let first: Vec<&str> =
        all.iter().filter(|module| module.layer == 0).map(|module| &module.name[..]).collect();
    invalid(format!(
        "tensor {}: expected {PREFIX}MODULE{A} or {B}, where MODULE is a linear layer of the model \
         (of layer 0: {})",
        name.escape_debug(),
        first.join(", ")
    ))
}
