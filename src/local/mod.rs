//! Models on this machine, as archives name them: those compiled in, and those of the [`Store`].
//! Never the network: what is read from an archive downloads nothing.

mod adapter_ref;
mod loader;
mod model_ref;
mod placement;
mod search;
mod steering_ref;

use crate::archive::{AdapterName, BuiltinModels, ModelName, ModelSource, SteeringName};
use crate::error::{Error, ErrorKind, Result};
use crate::hub::{
    Environment, FoundAdapter, FoundModel, FoundSteering, Store, digest_mismatch, folder_digest,
    hex,
};
use crate::models::{AdapterFiles, Model, Steering, SteeringFile};
use crate::ops::Isa;
use crate::train::SeededModel;
pub use adapter_ref::AdapterRef;
use loader::{Loader, Verified};
pub use model_ref::ModelRef;
#[cfg(feature = "cli")]
pub use model_ref::is_gguf;
pub use placement::DeviceChoice;
use placement::Placement;
use search::Search;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
pub use steering_ref::SteeringRef;

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
    store: Store,
    loader: Loader,
    placement: Placement,
    on_search: OnSearch,
}

impl LocalModels {
    /// The models where `environment` says they are, on the best instruction set of this machine.
    pub fn new(environment: &Environment) -> Self {
        let isa = Isa::detect();
        Self {
            builtin: BuiltinModels::new(isa),
            store: Store::new(environment),
            loader: Loader::new(isa),
            placement: Placement::new(DeviceChoice::Cpu, Box::new(|_| ())),
            on_search: Box::new(|_, _| ()),
        }
    }

    /// The models where this process's environment variables say they are ([`Environment`]).
    pub fn from_env() -> Self {
        Self::new(&Environment::new(|name| std::env::var_os(name)))
    }

    /// Runs models on the instruction set `isa`.
    #[must_use]
    pub fn with_isa(mut self, isa: Isa) -> Self {
        self.loader.isa = isa;
        Self { builtin: BuiltinModels::new(isa), ..self }
    }

    /// Runs models on `device`, and calls `on_place` with what runs a model, and why, where a device is not out of the
    /// question.
    #[must_use]
    pub fn with_device(
        self,
        device: DeviceChoice,
        on_place: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self { placement: Placement::new(device, Box::new(on_place)), ..self }
    }

    /// Refuses models whose weights take more than `memory` bytes.
    #[must_use]
    pub fn with_memory(mut self, memory: u64) -> Self {
        self.loader.memory = memory;
        self
    }

    /// Calls `on_load` before a model is loaded, with its folder and the bytes its weights take.
    #[must_use]
    pub fn with_callback(mut self, on_load: impl Fn(&Path, u64) + Send + Sync + 'static) -> Self {
        self.loader.on_load = Box::new(on_load);
        self
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
    /// [`ErrorKind::InvalidModel`], [`ErrorKind::Io`]; those of the device.
    pub fn open(&self, found: &FoundModel) -> Result<Arc<Model>> {
        self.placement.place(self.open_here(found)?)
    }

    /// Opens `found` on the processor.
    fn open_here(&self, found: &FoundModel) -> Result<Arc<Model>> {
        let Some(folder) = found.folder() else { return self.builtin.default_model() };
        let recorded = self.store.records().recorded(folder);
        let loaded = self.loader.load(folder, Some(found.label()));
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

    /// Opens the model that people call `name`, as the program's `-m` takes it: a folder, a GGUF file, `default`,
    /// `seed:...`, an imported model, or `ORG/NAME` of the hub's cache. Downloads nothing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where it can be no model's name; [`ErrorKind::ModelMissing`]; those of
    /// [`open`](Self::open).
    pub fn named(&self, name: &Path) -> Result<Arc<Model>> {
        match ModelRef::parse(name)? {
            ModelRef::Seeded(seeded) => self.draw(&seeded),
            named => self.open(&named.find(&self.store)?),
        }
    }

    /// Finds the adapter that people call `name`, as the program's `--adapter` takes it: a folder of PEFT's layout, or an
    /// imported one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where a path leads to no folder; [`ErrorKind::ModelMissing`].
    pub fn adapter_named(&self, name: &Path) -> Result<FoundAdapter> {
        AdapterRef::parse(name)?.find(&self.store)
    }

    /// Finds the steering vectors that people call `name`, as the program's `--steer` takes them: a file, or an
    /// imported one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where a path leads to nothing; [`ErrorKind::ModelMissing`].
    pub fn steering_named(&self, name: &Path) -> Result<FoundSteering> {
        SteeringRef::parse(name)?.find(&self.store)
    }

    /// Draws a model from its seed.
    ///
    /// # Errors
    /// [`ErrorKind::MemoryExceeded`]; those of the device.
    pub fn draw(&self, seeded: &SeededModel) -> Result<Arc<Model>> {
        self.placement.place(self.loader.draw(seeded)?)
    }

    /// Loads `found`, which must be the model that `wanted` names.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMissing`] where its digest is another; those of loading it.
    pub fn require(&self, found: &FoundModel, wanted: &ModelName) -> Result<Arc<Model>> {
        let got = match found.folder() {
            None => Model::default_identity().digest,
            Some(folder) => match self.loader.verify(folder, wanted)? {
                Verified::Model(model) => return self.placement.place(model),
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

    /// Reads the adapter in `found`, which must be the one that `wanted` names.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMissing`] where its digest is another; those of reading it.
    pub fn require_adapter(
        &self,
        found: &FoundAdapter,
        wanted: &AdapterName,
    ) -> Result<AdapterFiles> {
        let files = found.read()?;
        let got = files.digest();
        match got == wanted.digest {
            true => Ok(files),
            false => {
                let what = format!("the adapter named is '{}'", found.name.escape_debug());
                Err(other(wanted, &what, &got))
            }
        }
    }

    /// Checks that the model in `folder` can be loaded.
    ///
    /// # Errors
    /// Those of loading it.
    pub fn check(&self, folder: &Path) -> Result<()> {
        self.loader.load(folder, None).map(drop)
    }
}

impl LocalModels {
    /// Finds the model that an archive names, to run on the processor.
    fn find_here(&self, wanted: &ModelName) -> Result<Arc<Model>> {
        if BuiltinModels::has(wanted) {
            return self.builtin.find(wanted);
        }
        let ModelName::Digest { digest, label } = wanted else { return Err(wanted.missing()) };
        if let Some(seeded) = SeededModel::of_archive(digest, label) {
            return self.loader.draw(&seeded);
        }
        match self.loader.last().filter(|model| wanted.matches(model.identity())) {
            Some(model) => Ok(model),
            None => {
                let Self { store, loader, on_search, .. } = self;
                Search { store, loader, on_search }.find(wanted, digest, label)
            }
        }
    }
}

impl ModelSource for LocalModels {
    fn find(&self, wanted: &ModelName) -> Result<Arc<Model>> {
        self.placement.place(self.find_here(wanted)?)
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

    /// Reads all imported adapters, the one of the name first.
    fn find_adapter(&self, wanted: &AdapterName) -> Result<AdapterFiles> {
        let mut adapters = self.store.adapters();
        adapters.sort_by_key(|found| found.name != wanted.label);
        let mut suspect = None;
        for found in adapters {
            let Ok(files) = found.read() else { continue };
            let got = files.digest();
            if got == wanted.digest {
                return Ok(files);
            }
            if found.name == wanted.label {
                suspect = Some(got);
            }
        }
        let what = "the imported adapter of that name has a different digest (another or modified)";
        Err(suspect.map_or_else(|| wanted.missing(), |got| other(wanted, what, &got)))
    }
}

/// The error of an archive for which there is another model or adapter, or other steering vectors, than it needs.
fn other(wanted: &dyn Display, what: &str, got: &[u8; 32]) -> Error {
    let message = format!("the archive needs {wanted}, but {what} ({})", hex(got));
    Error::new(ErrorKind::ModelMissing, message)
}
