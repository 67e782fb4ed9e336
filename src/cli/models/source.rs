//! Source of the models of a run: `-m`, else the models on this machine. Only a model that `-m`
//! names for compression is downloaded.

use super::model_ref::ModelRef;
use super::watch::Bars;
use crate::archive::{BuiltinModels, ModelName, ModelSource};
use crate::cli::voice::{ProgressStyle, Voice};
use crate::hub::{self, Environment, FoundModel, Reference, Store};
use crate::models::Model;
use crate::{Error, ErrorKind, LocalModels};
use anyhow::Result;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The models of one run.
pub struct Models {
    local: LocalModels,
    /// The model of `-m`.
    spec: Option<ModelRef>,
    pub environment: Environment,
    /// Whether the warning about an unused model was printed.
    is_warned: AtomicBool,
}

impl Models {
    /// Creates the source without loading or searching anything; `spec` is the model of `-m`.
    pub fn new(local: LocalModels, environment: Environment, spec: Option<ModelRef>) -> Self {
        Self { local, spec, environment, is_warned: AtomicBool::new(false) }
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

    /// Opens the model for compression, downloading it where it is not on this machine.
    ///
    /// # Errors
    /// Errors of finding, fetching and loading it.
    pub fn for_compression(&self, style: ProgressStyle, voice: Voice) -> Result<Arc<Model>> {
        self.chosen(|reference, _| self.fetch(reference, &Bars::new(style, voice)))
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

    /// Opens the model of `-m`, else the default one, without downloading.
    ///
    /// # Errors
    /// Errors of finding and loading it.
    pub fn here(&self) -> Result<Arc<Model>> {
        self.chosen(|_, error| Err(error))
    }

    /// Opens the model of `-m`, else the default one; `elsewhere` gets the name of one that is not
    /// on this machine, and the error of that.
    fn chosen(
        &self,
        elsewhere: impl FnOnce(&Reference, anyhow::Error) -> Result<FoundModel>,
    ) -> Result<Arc<Model>> {
        let Some(spec) = &self.spec else { return Ok(self.local.open(&FoundModel::Default)?) };
        let found = match (spec.find(self.store()), spec) {
            (Ok(found), _) => found,
            // A name without a slash never leaves the machine: it is rather a mistyped folder.
            (Err(error), ModelRef::Named { reference: Some(reference), name })
                if is_missing(&error) && name.contains('/') =>
            {
                elsewhere(reference, error)?
            }
            (Err(error), _) => return Err(error),
        };
        Ok(self.local.open(&found)?)
    }

    fn fetch(&self, reference: &Reference, bars: &Bars) -> Result<FoundModel> {
        let model = hub::pull(&self.environment, self.store(), reference, bars)?;
        Ok(FoundModel::Stored(model))
    }
}

impl ModelSource for Models {
    fn find(&self, wanted: &ModelName) -> crate::Result<Arc<Model>> {
        match &self.spec {
            Some(spec) if !BuiltinModels::has(wanted) => {
                let missing = |e: anyhow::Error| {
                    let message = format!("the archive needs {wanted}, but {e}");
                    Error::new(ErrorKind::ModelMissing, message)
                };
                self.local.require(&spec.find(self.store()).map_err(missing)?, wanted)
            }
            _ => self.local.find(wanted),
        }
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(|e: &Error| e.kind() == ErrorKind::ModelMissing)
}
