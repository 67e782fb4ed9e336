//! Models loaded from folders, one at a time in memory.

use crate::archive::ModelName;
use crate::error::{Error, ErrorKind, Result};
use crate::hub::folder_digest;
use crate::models::{Architecture, Model};
use crate::ops::Isa;
use crate::train::SeededModel;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Callback before a model is loaded: its folder, and the bytes of memory that its weights take.
pub type OnLoad = Box<dyn Fn(&Path, u64) + Send + Sync>;

/// Loads models and keeps the last one.
pub struct Loader {
    /// The instruction set that they run on.
    pub isa: Isa,
    /// Most bytes that weights may take.
    pub memory: u64,
    pub on_load: OnLoad,
    loaded: Mutex<Option<Loaded>>,
}

/// The model that was loaded last.
struct Loaded {
    from: Origin,
    model: Arc<Model>,
}

/// Where a model came from.
#[derive(PartialEq, Eq)]
enum Origin {
    Folder(PathBuf),
    Seed(SeededModel),
}

/// A model that was loaded, or the digest of files that are those of another.
pub enum Verified {
    Model(Arc<Model>),
    Other([u8; 32]),
}

impl Loader {
    /// A loader of models of any size, to run on `isa`.
    pub fn new(isa: Isa) -> Self {
        Self { isa, memory: u64::MAX, on_load: Box::new(|_, _| ()), loaded: Mutex::default() }
    }

    /// The model in memory.
    pub fn last(&self) -> Option<Arc<Model>> {
        self.lock().as_ref().map(|last| Arc::clone(&last.model))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Loaded>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The model in `folder`: the one in memory, or loaded now if there is room for it.
    ///
    /// # Errors
    /// [`ErrorKind::MemoryExceeded`], [`ErrorKind::InvalidModel`], [`ErrorKind::Io`].
    pub fn load(&self, folder: &Path, label: Option<&str>) -> Result<Arc<Model>> {
        self.keep(Origin::Folder(folder.to_owned()), || self.read(folder, label))
    }

    /// The model that is drawn from its seed: the one in memory, or drawn now if there is room for it.
    ///
    /// # Errors
    /// [`ErrorKind::MemoryExceeded`]
    pub fn draw(&self, seeded: &SeededModel) -> Result<Arc<Model>> {
        self.keep(Origin::Seed(*seeded), || seeded.draw(self.isa, self.memory))
    }

    /// The model in memory where it is from there, else that of `load`.
    fn keep(&self, from: Origin, load: impl FnOnce() -> Result<Model>) -> Result<Arc<Model>> {
        let mut loaded = self.lock();
        if let Some(Loaded { model, .. }) = loaded.as_ref().filter(|last| last.from == from) {
            return Ok(Arc::clone(model));
        }
        *loaded = None;
        let model = Arc::new(load()?);
        *loaded = Some(Loaded { from, model: Arc::clone(&model) });
        Ok(model)
    }

    fn read(&self, folder: &Path, label: Option<&str>) -> Result<Model> {
        let model = Model::open_if(folder, self.isa, |architecture| {
            let weights = architecture.footprint().weights;
            if weights > self.memory {
                return Err(too_large(architecture, self.memory));
            }
            (self.on_load)(folder, weights);
            Ok(())
        })?;
        Ok(match label {
            Some(label) => model.with_label(label.to_owned()),
            None => model,
        })
    }

    /// Loads the model in `folder` and compares its digest with the one that `wanted` names. Where
    /// it cannot be loaded, that is an error only of the right files.
    ///
    /// # Errors
    /// Those of [`Loader::load`].
    pub fn verify(&self, folder: &Path, wanted: &ModelName) -> Result<Verified> {
        match self.load(folder, None) {
            Ok(model) if wanted.matches(model.identity()) => Ok(Verified::Model(model)),
            Ok(model) => Ok(Verified::Other(model.identity().digest)),
            Err(error) => match (folder_digest(folder), wanted) {
                (Ok(got), ModelName::Digest { digest, .. }) if got != *digest => {
                    Ok(Verified::Other(got))
                }
                _ => Err(error),
            },
        }
    }
}

/// The error of a network whose weights do not fit into `memory`.
fn too_large(architecture: &Architecture, memory: u64) -> Error {
    let weights = architecture.footprint().weights;
    let advice = match architecture.quantization() {
        None => "; llmzip models quantize --int8 makes one of about a quarter of that",
        Some(_) => "",
    };
    let (weights, memory) = (weights >> 20, memory >> 20);
    let message = format!(
        "its weights take about {weights} MiB of memory, and {memory} MiB may be used{advice}"
    );
    Error::new(ErrorKind::MemoryExceeded, message)
}
