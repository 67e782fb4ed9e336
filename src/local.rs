//! Models on this machine, as archives name them: those compiled in, and those of the [`Store`].
//! Never the network: what is read from an archive downloads nothing.

use crate::archive::{BuiltinModels, ModelName, ModelSource, SteeringName};
use crate::error::{Error, ErrorKind, Result};
use crate::hub::{
    Environment, FoundModel, FoundSteering, Reference, Store, StoredModel, digest_mismatch,
    folder_digest, hex,
};
use crate::models::{Architecture, Model, Steering, SteeringFile};
use crate::ops::Isa;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Callback before a model is loaded: its folder, and the bytes of memory that its weights take.
type OnLoad = Box<dyn Fn(&Path, u64) + Send + Sync>;

/// Callback before models are read to find one by its digest: how many, and their bytes.
type OnSearch = Box<dyn Fn(usize, u64) + Send + Sync>;

/// All models on this machine. Loads what is asked for and keeps the last one.
///
/// ```no_run
/// use llmzip::{LocalModels, archive};
///
/// let archive = std::fs::File::open("notes.txt.llmz")?;
/// let options = archive::Options::default();
/// archive::decompress(archive, std::io::stdout(), &LocalModels::from_env(), &options, &|_| ())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LocalModels {
    builtin: BuiltinModels,
    isa: Isa,
    memory: u64,
    store: Store,
    on_load: OnLoad,
    on_search: OnSearch,
    loaded: Mutex<Option<Loaded>>,
}

/// The model that was loaded last: one at a time in memory.
struct Loaded {
    folder: PathBuf,
    model: Arc<Model>,
}

/// A model that was loaded, or the digest of files that are those of another.
enum Verified {
    Model(Arc<Model>),
    Other([u8; 32]),
}

impl LocalModels {
    /// The models where `environment` says they are, on the best instruction set of this machine.
    pub fn new(environment: &Environment) -> Self {
        let isa = Isa::detect();
        Self {
            builtin: BuiltinModels::new(isa),
            isa,
            memory: u64::MAX,
            store: Store::new(environment),
            on_load: Box::new(|_, _| ()),
            on_search: Box::new(|_, _| ()),
            loaded: Mutex::default(),
        }
    }

    /// The models where this process's environment variables say they are ([`Environment`]).
    pub fn from_env() -> Self {
        Self::new(&Environment::new(|name| std::env::var_os(name)))
    }

    /// Runs models on the instruction set `isa`.
    #[must_use]
    pub fn with_isa(self, isa: Isa) -> Self {
        Self { builtin: BuiltinModels::new(isa), isa, ..self }
    }

    /// Refuses models whose weights take more than `memory` bytes.
    #[must_use]
    pub fn with_memory(self, memory: u64) -> Self {
        Self { memory, ..self }
    }

    /// Calls `on_load` before a model is loaded, with its folder and the bytes its weights take.
    #[must_use]
    pub fn with_callback(self, on_load: impl Fn(&Path, u64) + Send + Sync + 'static) -> Self {
        Self { on_load: Box::new(on_load), ..self }
    }

    /// Calls `on_search` before models whose digests are not recorded are read to find one that an
    /// archive names, with their number and bytes.
    #[must_use]
    pub fn with_search_callback(
        self,
        on_search: impl Fn(usize, u64) + Send + Sync + 'static,
    ) -> Self {
        Self { on_search: Box::new(on_search), ..self }
    }

    /// The models that are kept on disk.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The compiled-in model.
    ///
    /// # Errors
    /// None on an intact binary.
    pub fn builtin(&self) -> Result<Arc<Model>> {
        self.builtin.default_model()
    }

    /// Loads `found` to compress with, under its own label.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where its files are not those that were recorded when it came: an
    /// archive made with them could not be opened anywhere else. [`ErrorKind::MemoryExceeded`],
    /// [`ErrorKind::InvalidModel`], [`ErrorKind::Io`].
    pub fn open(&self, found: &FoundModel) -> Result<Arc<Model>> {
        let Some(folder) = found.folder() else { return self.builtin.default_model() };
        let recorded = self.store.records().recorded(folder);
        let loaded = self.load(folder, Some(found.label()));
        if let Some(recorded) = recorded {
            let got = match &loaded {
                Ok(model) => Some(model.identity().digest),
                Err(e) if e.kind() == ErrorKind::InvalidModel => folder_digest(folder).ok(),
                Err(_) => None,
            };
            if let Some(got) = got.filter(|got| *got != recorded) {
                return Err(digest_mismatch(found.label(), &got, &recorded));
            }
        }
        loaded
    }

    /// Loads `found`, which must be the model that `wanted` names.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMissing`] where its digest is another; those of loading it.
    pub fn require(&self, found: &FoundModel, wanted: &ModelName) -> Result<Arc<Model>> {
        let got = match found.folder() {
            None => Model::default_identity().digest,
            Some(folder) => match self.verify(folder, wanted)? {
                Verified::Model(model) => return Ok(model),
                Verified::Other(got) => got,
            },
        };
        let what = format!("the model named is '{}'", found.label().escape_debug());
        Err(other(wanted, &what, &got))
    }

    /// Reads the steering vectors in `found`, which must be those that `wanted` names.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMissing`] where its digest is another; those of reading it.
    pub fn require_steering(
        &self,
        found: &FoundSteering,
        wanted: &SteeringName,
    ) -> Result<Arc<Steering>> {
        let SteeringName::Digest { digest, .. } = wanted else { return Err(wanted.missing()) };
        let file = found.read()?;
        let got: [u8; 32] = blake3::hash(&file).into();
        if got != *digest {
            let what = format!("the file named is '{}'", found.name.escape_debug());
            return Err(other(wanted, &what, &got));
        }
        Ok(Arc::new(SteeringFile::parse(&file)?.steering))
    }

    /// Checks that the model in `folder` can be loaded.
    ///
    /// # Errors
    /// Those of loading it.
    pub fn check(&self, folder: &Path) -> Result<()> {
        self.load(folder, None).map(drop)
    }

    fn loaded(&self) -> MutexGuard<'_, Option<Loaded>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The model in `folder`: the one in memory, or loaded now if there is room for it.
    fn load(&self, folder: &Path, label: Option<&str>) -> Result<Arc<Model>> {
        let mut loaded = self.loaded();
        if let Some(Loaded { model, .. }) = loaded.as_ref().filter(|last| last.folder == folder) {
            return Ok(Arc::clone(model));
        }
        *loaded = None;
        let model = Model::open_if(folder, self.isa, |architecture| {
            let weights = architecture.footprint().weights;
            if weights > self.memory {
                return Err(too_large(architecture, self.memory));
            }
            (self.on_load)(folder, weights);
            Ok(())
        })?;
        let model = match label {
            Some(label) => model.with_label(label.to_owned()),
            None => model,
        };
        let model = Arc::new(model);
        *loaded = Some(Loaded { folder: folder.to_owned(), model: Arc::clone(&model) });
        Ok(model)
    }

    /// Loads the model in `folder` and compares its digest with the one that `wanted` names. Where
    /// it cannot be loaded, that is an error only of the right files.
    fn verify(&self, folder: &Path, wanted: &ModelName) -> Result<Verified> {
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

    /// Finds the model in the store by its digest: by the records, then where the label says, then
    /// by computing the digests that are not recorded, smallest model first.
    fn find_stored(
        &self,
        wanted: &ModelName,
        digest: &[u8; 32],
        label: &str,
    ) -> Result<Arc<Model>> {
        let records = self.store.records();
        let mut models = self.store.models();
        models.sort_by_key(|model| (model.label != label, model.len));
        let fresh = |model: &StoredModel| records.fresh(&model.folder);
        if let Some(model) = models.iter().find(|model| fresh(model) == Some(*digest)) {
            return match self.verify(&model.folder, wanted)? {
                Verified::Model(model) => Ok(model),
                Verified::Other(got) => Err(mismatch(wanted, &model.label, &got)),
            };
        }
        let is_likely = |model: &StoredModel| {
            model.label == label || records.recorded(&model.folder) == Some(*digest)
        };
        let unknown = |model: &&StoredModel| fresh(model).is_none() && !is_likely(model);
        let unknown: Vec<u64> = models.iter().filter(unknown).map(|model| model.len).collect();
        let mut is_told = unknown.is_empty();
        let mut suspect = None;
        for model in &models {
            let is_likely = is_likely(model);
            let got = match fresh(model) {
                Some(got) => got,
                // Loaded at once, so that it is read once: it is the one, or damaged.
                None if is_likely => {
                    let verified = records.observe(&model.folder, || {
                        let verified = self.verify(&model.folder, wanted)?;
                        let got = match &verified {
                            Verified::Model(_) => *digest,
                            Verified::Other(got) => *got,
                        };
                        Ok((verified, got))
                    });
                    match verified? {
                        Verified::Model(model) => return Ok(model),
                        Verified::Other(got) => got,
                    }
                }
                // Hashed without being held in memory: most likely it is another.
                None => match self.search(model, &unknown, &mut is_told) {
                    Ok(got) if got == *digest => match self.verify(&model.folder, wanted)? {
                        Verified::Model(model) => return Ok(model),
                        Verified::Other(got) => got,
                    },
                    Ok(got) => got,
                    Err(_) => continue,
                },
            };
            if is_likely && suspect.is_none() {
                suspect = Some(mismatch(wanted, &model.label, &got));
            }
        }
        Err(suspect.unwrap_or_else(|| missing(wanted, label)))
    }

    /// Computes and records the digest of one of the models of lengths `unknown`; before the first,
    /// says that they are read.
    fn search(&self, model: &StoredModel, unknown: &[u64], is_told: &mut bool) -> Result<[u8; 32]> {
        if !std::mem::replace(is_told, true) {
            (self.on_search)(unknown.len(), unknown.iter().sum());
        }
        self.store.records().compute(&model.folder)
    }
}

impl ModelSource for LocalModels {
    fn find(&self, wanted: &ModelName) -> Result<Arc<Model>> {
        if BuiltinModels::has(wanted) {
            return self.builtin.find(wanted);
        }
        let ModelName::Digest { digest, label } = wanted else { return Err(wanted.missing()) };
        let last = self.loaded().as_ref().map(|last| Arc::clone(&last.model));
        match last.filter(|model| wanted.matches(model.identity())) {
            Some(model) => Ok(model),
            None => self.find_stored(wanted, digest, label),
        }
    }

    /// Reads all imported files: they are few and small.
    fn find_steering(&self, wanted: &SteeringName) -> Result<Arc<Steering>> {
        let SteeringName::Digest { digest, label } = wanted else { return Err(wanted.missing()) };
        let mut suspect = None;
        for found in self.store.steering_files() {
            let Ok(file) = found.read() else { continue };
            let got: [u8; 32] = blake3::hash(&file).into();
            if got == *digest {
                return Ok(Arc::new(SteeringFile::parse(&file)?.steering));
            }
            if found.name == *label {
                suspect = Some(got);
            }
        }
        let what = "the imported file of that name has a different digest (another or modified)";
        Err(suspect.map_or_else(|| wanted.missing(), |got| other(wanted, what, &got)))
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

/// The error of an archive for which there is another model, or other steering vectors, than it needs.
fn other(wanted: &dyn Display, what: &str, got: &[u8; 32]) -> Error {
    let message = format!("the archive needs {wanted}, but {what} ({})", hex(got));
    Error::new(ErrorKind::ModelMissing, message)
}

/// The error of a stored model whose files have another digest than the archive needs.
fn mismatch(wanted: &ModelName, label: &str, got: &[u8; 32]) -> Error {
    let label = label.escape_debug();
    let what = format!("local files of '{label}' have a different digest (modified or corrupted)");
    other(wanted, &what, got)
}

/// The error of a model that is not on this machine. The label is foreign text: only where it is
/// nothing but a model's name does it become a line to type.
fn missing(wanted: &ModelName, label: &str) -> Error {
    let advice = match Reference::of_label(label) {
        Some(reference) => format!("get it with:  llmzip models pull {reference}"),
        None => "name its folder with -m, or import it with:  llmzip models import".to_owned(),
    };
    let message = format!("the archive needs {wanted}, not found here; {advice}");
    Error::new(ErrorKind::ModelMissing, message)
}
