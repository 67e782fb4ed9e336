//! Source of the models of a run: `-m`, else the models on this machine. Only a model that `-m`
//! names for compression is downloaded. Steering vectors: those of `--steer`, and those on this machine.

use super::steering_ref::{RandomSteering, SteeringSpec};
use super::watch::Bars;
use crate::archive::{
    AdapterName, BuiltinModels, ModelName, ModelSource, NamedSteering, Options, SteeringName,
};
use crate::cli::names::shown;
use crate::cli::voice::{ProgressStyle, Voice};
use crate::hub::{self, Environment, FoundModel, Reference, Store};
use crate::local::{AdapterRef, ModelRef, SteeringRef};
use crate::models::{AdapterFiles, Model, Steering};
use crate::{Error, ErrorKind, LocalModels};
use anyhow::Result;
use std::borrow::Cow;
use std::fmt::Display;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// The models of one run.
pub struct Models {
    local: LocalModels,
    /// The model of `-m`.
    spec: Option<ModelRef>,
    /// The adapter of `--adapter`.
    adapter: Option<AdapterRef>,
    /// The model that it was put beside.
    adapted: OnceLock<Arc<Model>>,
    /// The steering vectors of `--steer` or `--steer-random`.
    steering: Option<SteeringSpec>,
    /// The same, read or drawn.
    named_steering: OnceLock<NamedSteering>,
    pub environment: Environment,
    /// Whether the warning about an unused model was printed.
    is_warned: AtomicBool,
}

impl Models {
    /// Creates the source without loading or searching anything; `spec` is the model of `-m`.
    pub fn new(
        local: LocalModels,
        environment: Environment,
        spec: Option<ModelRef>,
        adapter: Option<AdapterRef>,
        steering: Option<SteeringSpec>,
    ) -> Self {
        Self {
            local,
            spec,
            adapter,
            adapted: OnceLock::new(),
            steering,
            named_steering: OnceLock::new(),
            environment,
            is_warned: AtomicBool::new(false),
        }
    }

    /// Returns the store of models on disk.
    pub fn store(&self) -> &Store {
        self.local.store()
    }

    /// Checks that the model in `folder` can be loaded.
    ///
    /// # Errors
    /// Errors of loading it.
    pub fn try_folder(&self, folder: &Path) -> crate::Result<()> {
        self.local.check(folder)
    }

    /// Opens the model for compression, with its adapter, downloading it where it is not on this machine.
    ///
    /// # Errors
    /// Errors of finding, fetching and loading them.
    pub fn for_compression(&self, style: ProgressStyle, voice: Voice) -> Result<Arc<Model>> {
        self.adapted(|| self.chosen(|reference, _| self.fetch(reference, &Bars::new(style, voice))))
    }

    /// Returns the model that `open` gives, with the adapter of this run, if any; opens it once.
    fn adapted(&self, open: impl FnOnce() -> Result<Arc<Model>>) -> Result<Arc<Model>> {
        let Some(adapter) = &self.adapter else { return open() };
        if let Some(model) = self.adapted.get() {
            return Ok(Arc::clone(model));
        }
        let model = Arc::new(open()?.with_adapter(&adapter.find(self.store())?.read()?)?);
        Ok(Arc::clone(self.adapted.get_or_init(|| model)))
    }

    /// Returns a model for compression at a level that runs none, ignoring `-m`.
    ///
    /// # Errors
    /// None on an intact binary.
    pub fn unused(&self, level: u8) -> Result<Arc<Model>> {
        if self.spec.is_some() && !self.is_warned.swap(true, Ordering::Relaxed) {
            say!("llmzip: warning: level {level} runs no language model, -m is ignored");
        }
        Ok(self.local.builtin()?)
    }

    /// Opens the model in `folder`.
    ///
    /// # Errors
    /// Errors of loading it.
    pub fn of_folder(&self, folder: &Path) -> Result<Arc<Model>> {
        Ok(self.local.open(&FoundModel::of_folder(folder, self.store()))?)
    }

    /// Returns the compiled-in model.
    ///
    /// # Errors
    /// None on an intact binary.
    pub fn builtin(&self) -> Result<Arc<Model>> {
        Ok(self.local.builtin()?)
    }

    /// Opens the model of `-m`, else the default one, with its adapter, without downloading.
    ///
    /// # Errors
    /// Errors of finding and loading it.
    pub fn here(&self) -> Result<Arc<Model>> {
        self.adapted(|| self.chosen(|_, error| Err(error.into())))
    }

    /// Opens the model of `-m`, else the default one; `elsewhere` gets the name of one that is not
    /// on this machine, and the error of that.
    fn chosen(
        &self,
        elsewhere: impl FnOnce(&Reference, Error) -> Result<FoundModel>,
    ) -> Result<Arc<Model>> {
        let Some(spec) = &self.spec else { return Ok(self.local.open(&FoundModel::Default)?) };
        if let ModelRef::Seeded(seeded) = spec {
            return Ok(self.local.draw(seeded)?);
        }
        let found = match (spec.find(self.store()), spec) {
            (Ok(found), _) => found,
            // A name without a slash never leaves the machine: it is rather a mistyped folder.
            (Err(error), ModelRef::Named { reference: Some(reference), name })
                if error.kind() == ErrorKind::ModelMissing && name.contains('/') =>
            {
                elsewhere(reference, error)?
            }
            (Err(error), _) => return Err(error.into()),
        };
        Ok(self.local.open(&found)?)
    }

    /// Returns `options` with the steering vectors of this run, which are for `model`.
    ///
    /// # Errors
    /// Errors of finding and reading them; InvalidArgument where the model takes no such vectors.
    pub fn steered<'o>(&self, options: &'o Options, model: &Model) -> Result<Cow<'o, Options>> {
        let spec = self.steering.as_ref().filter(|_| options.may_run_model());
        let Some(spec) = spec else { return Ok(Cow::Borrowed(options)) };
        let steering = match (self.named_steering.get(), spec) {
            (Some(steering), _) => steering.clone(),
            (None, SteeringSpec::File(file)) => self.read_steering(file, model)?,
            (None, SteeringSpec::Random(RandomSteering { count, seed })) => {
                NamedSteering::random(model, *count, *seed)?
            }
        };
        let steering = self.named_steering.get_or_init(|| steering).clone();
        Ok(Cow::Owned(options.clone().steering(steering)))
    }

    fn read_steering(&self, file: &SteeringRef, model: &Model) -> Result<NamedSteering> {
        let found = file.find(self.store())?;
        let steering = NamedSteering::of_file(&found.read()?, &found.name, model);
        Ok(steering.map_err(|e| e.at(shown(&found.path)))?)
    }

    fn fetch(&self, reference: &Reference, bars: &Bars) -> Result<FoundModel> {
        let model = hub::pull(&self.environment, self.store(), reference, bars)?;
        Ok(FoundModel::Stored(model))
    }
}

impl ModelSource for Models {
    fn find(&self, wanted: &ModelName) -> crate::Result<Arc<Model>> {
        match &self.spec {
            Some(ModelRef::Seeded(seeded)) if !BuiltinModels::has(wanted) => {
                if !wanted.matches(&seeded.identity()) {
                    return Err(not_found(wanted, &format!("-m names {seeded}")));
                }
                self.local.find(wanted)
            }
            Some(spec) if !BuiltinModels::has(wanted) => {
                let found = spec.find(self.store()).map_err(|e| not_found(wanted, &e))?;
                self.local.require(&found, wanted)
            }
            _ => self.local.find(wanted),
        }
    }

    /// Takes the file of `--steer` where it is the one, else one that was imported.
    fn find_steering(&self, wanted: &SteeringName) -> crate::Result<Arc<Steering>> {
        let Some(SteeringSpec::File(file)) = &self.steering else {
            return self.local.find_steering(wanted);
        };
        let found = file.find(self.store()).map_err(|e| not_found(wanted, &e));
        let named = found.and_then(|found| self.local.require_steering(&found, wanted));
        named.or_else(|error| self.local.find_steering(wanted).map_err(|_| error))
    }

    /// Takes the adapter of `--adapter` where it is the one, else one that was imported.
    fn find_adapter(&self, wanted: &AdapterName) -> crate::Result<AdapterFiles> {
        let Some(adapter) = &self.adapter else { return self.local.find_adapter(wanted) };
        let found = adapter.find(self.store()).map_err(|e| not_found(wanted, &e));
        let named = found.and_then(|found| self.local.require_adapter(&found, wanted));
        named.or_else(|error| self.local.find_adapter(wanted).map_err(|_| error))
    }
}

/// The error of what an archive needs and the command line names in vain.
fn not_found(wanted: &dyn Display, error: &dyn Display) -> Error {
    let message = format!("the archive needs {wanted}, but {error}");
    Error::new(ErrorKind::ModelMissing, message)
}
