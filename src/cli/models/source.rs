//! Where archives' models come from: the program itself, `-m`, and the store. Never the network:
//! what is downloaded is what a person named to compress with.

use super::spec::{FoundModel, ModelSpec};
use super::watch::Bars;
use crate::archive::{BuiltinModels, ModelName, ModelSource};
use crate::cli::Session;
use crate::cli::plan::{Plan, Voice};
use crate::hub::{self, Environment, Reference, Store, hex};
use crate::models::{Model, ModelFolder};
use crate::ops::Isa;
use crate::{Error, ErrorKind};
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The models of one run.
pub struct Models {
    builtin: BuiltinModels,
    isa: Isa,
    /// Bytes that a model may take.
    memory: u64,
    is_verbose: bool,
    /// The model of `-m`.
    spec: Option<ModelSpec>,
    pub environment: Environment,
    pub store: Store,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Folders that were found to hold the model of a digest.
    located: Vec<([u8; 32], PathBuf)>,
    /// The model used last: one at a time in memory.
    loaded: Option<Arc<Model>>,
    /// Whether the user was told that the model is of no use.
    is_warned: bool,
}

impl Models {
    /// Loads nothing and looks for nothing yet.
    pub fn new(plan: &Plan) -> Self {
        Self {
            builtin: BuiltinModels::new(plan.isa),
            isa: plan.isa,
            memory: plan.memory,
            is_verbose: plan.voice == Voice::Verbose,
            spec: plan.model.clone(),
            environment: plan.environment.clone(),
            store: Store::new(&plan.environment),
            state: Mutex::default(),
        }
    }

    /// Checks that the model in `folder` can be loaded.
    ///
    /// # Errors
    /// Those of loading it.
    pub fn try_folder(&self, folder: &Path) -> crate::Result<()> {
        self.load(folder).map(drop)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The model to compress with, downloaded where it is not here.
    ///
    /// # Errors
    /// Those of finding, fetching and loading it.
    pub fn for_compression(&self, session: &Session) -> Result<Arc<Model>> {
        self.chosen(|reference, _| self.fetch(session, reference))
    }

    /// A model to compress with at a level that runs none; the one that was named is not looked at.
    ///
    /// # Errors
    /// None on an intact binary.
    pub fn unused(&self, level: u8) -> Result<Arc<Model>> {
        if self.spec.is_some() && !std::mem::replace(&mut self.state().is_warned, true) {
            say!("llmzip: warning: level {level} runs no language model, -m is ignored");
        }
        Ok(self.builtin.default_model()?)
    }

    /// The same, of the models that are here.
    ///
    /// # Errors
    /// Those of finding and loading it.
    pub fn here(&self) -> Result<Arc<Model>> {
        self.chosen(|_, error| Err(error))
    }

    /// The model of `-m`, else the default one; `elsewhere` gets the name of one that is not here, and
    /// the error of that.
    fn chosen(
        &self,
        elsewhere: impl FnOnce(&Reference, anyhow::Error) -> Result<FoundModel>,
    ) -> Result<Arc<Model>> {
        let Some(spec) = self.spec.as_ref().filter(|spec| **spec != ModelSpec::Default) else {
            return Ok(self.builtin.default_model()?);
        };
        if let Some(model) = &self.state().loaded {
            return Ok(Arc::clone(model));
        }
        let found = match (spec.find(&self.store), spec) {
            (Ok(found), _) => found,
            (Err(error), ModelSpec::Named { reference: Some(reference), .. })
                if is_missing(&error) =>
            {
                elsewhere(reference, error)?
            }
            (Err(error), _) => return Err(error),
        };
        let model = Arc::new(self.open(&found)?);
        self.state().loaded = Some(Arc::clone(&model));
        Ok(model)
    }

    fn fetch(&self, session: &Session, reference: &Reference) -> Result<FoundModel> {
        let bars = Bars::new(session.progress, session.voice);
        let model = hub::pull(&self.environment, &self.store, reference, &bars)?;
        Ok(FoundModel::Stored(model))
    }

    /// Loads the model in `folder`, if there is room for it.
    fn load(&self, folder: &Path) -> crate::Result<Model> {
        let weights = ModelFolder::find(folder)?.architecture()?.footprint().weights;
        if weights > self.memory {
            let (weights, limit) = (weights >> 20, self.memory >> 20);
            let message = format!("takes about {weights} MiB of memory, the limit is {limit}");
            return Err(Error::new(ErrorKind::LimitExceeded, message).at(folder.display()));
        }
        if self.is_verbose {
            say!("{}: loading, about {} MiB of memory", folder.display(), weights >> 20);
        }
        Model::open(folder, self.isa)
    }

    /// Loads `found` under its own name, unless its files changed since they came: what is made with
    /// such a model could not be opened anywhere else.
    fn open(&self, found: &FoundModel) -> Result<Model> {
        let Some(folder) = found.folder() else {
            return Ok(Model::default_model(self.isa)?);
        };
        let loaded = self.load(folder);
        if let Some(recorded) = self.store.records().recorded(folder)
            && let Some(got) = digest_with(&loaded, folder)
            && got != recorded
        {
            return Err(changed(found.label(), &got, &recorded).into());
        }
        Ok(loaded?.with_label(found.label().to_owned()))
    }

    /// Makes sure that the model that `wanted` names is here, without loading it.
    ///
    /// # Errors
    /// ModelMissing where it is not, or where its files or `-m` have another digest.
    pub fn locate(&self, wanted: &ModelName) -> crate::Result<()> {
        if BuiltinModels::has(wanted) { Ok(()) } else { self.folder_of(wanted).map(drop) }
    }

    /// The folder of the model that `wanted` names, its files compared with the digest.
    fn folder_of(&self, wanted: &ModelName) -> crate::Result<PathBuf> {
        let ModelName::Digest { digest, label } = wanted else { return Err(wanted.missing()) };
        let known = self.state().located.iter().find(|(known, _)| known == digest).cloned();
        if let Some((_, folder)) = known {
            return Ok(folder);
        }
        let folder = match &self.spec {
            Some(spec) => self.folder_of_spec(spec, wanted, digest)?,
            None => self.folder_in_store(wanted, digest, label)?,
        };
        self.state().located.push((*digest, folder.clone()));
        Ok(folder)
    }

    fn folder_of_spec(
        &self,
        spec: &ModelSpec,
        wanted: &ModelName,
        digest: &[u8; 32],
    ) -> crate::Result<PathBuf> {
        let missing = |e: anyhow::Error| {
            Error::new(ErrorKind::ModelMissing, format!("the archive needs {wanted}, but {e}"))
        };
        let found = spec.find(&self.store).map_err(missing)?;
        let (label, got) = (found.label(), digest_of(&found)?);
        match found.folder() {
            Some(folder) if got == *digest => Ok(folder.to_owned()),
            _ => Err(other(wanted, &format!("-m names '{}'", label.escape_debug()), &got)),
        }
    }

    fn folder_in_store(
        &self,
        wanted: &ModelName,
        digest: &[u8; 32],
        label: &str,
    ) -> crate::Result<PathBuf> {
        let records = self.store.records();
        if let Some(model) = self.store.with_digest(digest, label) {
            let got = records.compute(&model.folder)?;
            return match got == *digest {
                true => Ok(model.folder),
                false => Err(damaged(wanted, &model.label, &got)),
            };
        }
        let is_suspect = |model: &&hub::StoredModel| {
            model.label == label || records.recorded(&model.folder) == Some(*digest)
        };
        match self.store.models().iter().find(is_suspect) {
            Some(model) => Err(damaged(wanted, &model.label, &records.compute(&model.folder)?)),
            None => Err(missing(wanted, label)),
        }
    }
}

impl ModelSource for Models {
    fn find(&self, wanted: &ModelName) -> crate::Result<Arc<Model>> {
        if BuiltinModels::has(wanted) {
            return self.builtin.find(wanted);
        }
        let loaded = self.state().loaded.take();
        if let Some(model) = loaded.filter(|model| wanted.matches(model.identity())) {
            self.state().loaded = Some(Arc::clone(&model));
            return Ok(model);
        }
        let model = Arc::new(self.load(&self.folder_of(wanted)?)?);
        self.state().loaded = Some(Arc::clone(&model));
        Ok(model)
    }
}

/// The digest of the files in `folder` when they were `loaded`, or too damaged for that.
fn digest_with(loaded: &crate::Result<Model>, folder: &Path) -> Option<[u8; 32]> {
    match loaded {
        Ok(model) => Some(model.identity().digest),
        Err(error) if error.kind() == ErrorKind::InvalidModel => hub::folder_digest(folder).ok(),
        Err(_) => None,
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(|e: &Error| e.kind() == ErrorKind::ModelMissing)
}

/// The digest of `found`, computed from its files.
pub fn digest_of(found: &FoundModel) -> crate::Result<[u8; 32]> {
    match found.folder() {
        Some(folder) => hub::folder_digest(folder),
        None => Ok(Model::default_identity().digest),
    }
}

/// The error of a model whose files are not those that were recorded.
pub fn changed(label: &str, got: &[u8; 32], recorded: &[u8; 32]) -> Error {
    let message = format!(
        "the files of the model '{}' have the digest {}, recorded was {}: damaged or changed; remove \
         the model (llmzip models rm) and fetch it again",
        label.escape_debug(),
        hex(got),
        hex(recorded)
    );
    Error::new(ErrorKind::Corrupt, message)
}

/// The error of an archive for which there is another model than it needs.
fn other(wanted: &ModelName, what: &str, got: &[u8; 32]) -> Error {
    let message = format!("the archive needs {wanted}, but {what} ({})", hex(got));
    Error::new(ErrorKind::ModelMissing, message)
}

fn damaged(wanted: &ModelName, label: &str, got: &[u8; 32]) -> Error {
    let what = format!(
        "the files of '{}' here are another's: damaged, changed, or not those of llmzip models pull",
        label.escape_debug()
    );
    other(wanted, &what, got)
}

/// The error of a model that is not here. The label is foreign text: only where it is nothing but a
/// model's name does it become a line to type.
fn missing(wanted: &ModelName, label: &str) -> Error {
    let advice = match Reference::of_label(label) {
        Some(reference) => format!("get it with:  llmzip models pull {reference}"),
        None => "name its folder with -m, or take it in with:  llmzip models import".to_owned(),
    };
    let message = format!("the archive needs {wanted}, not found here; {advice}");
    Error::new(ErrorKind::ModelMissing, message)
}
