//! Models, and where decoders look for them.

use crate::error::Raise;
use llmzip::archive::{AdapterName, BuiltinModels, ModelName, ModelSource, SteeringName};
use llmzip::hub::Environment;
use llmzip::models::{AdapterFiles, Identity, Steering};
use llmzip::{Error, ErrorKind, LocalModels, Parameters};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Models of this process. Locked only with the interpreter's lock held and never while anything is loaded, so
/// that no fork finds it locked.
static SHARED: Mutex<Shared> = Mutex::new(Shared { default: None, local: None });

/// Whether the default model is loaded, and not only named.
static IS_DEFAULT_LOADED: AtomicBool = AtomicBool::new(false);

struct Shared {
    default: Option<Arc<llmzip::Model>>,
    /// The models where the environment's variables said they were.
    local: Option<(Environment, Arc<LocalModels>)>,
}

fn shared() -> MutexGuard<'static, Shared> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The compiled-in model, which is loaded when it is first used.
fn default_model() -> PyResult<Arc<llmzip::Model>> {
    let mut shared = shared();
    if let Some(model) = &shared.default {
        return Ok(Arc::clone(model));
    }
    let model = Arc::new(llmzip::Model::builtin().raise()?);
    shared.default = Some(Arc::clone(&model));
    Ok(model)
}

fn environment() -> Environment {
    Environment::new(|name| std::env::var_os(name))
}

/// The models on this machine for archives that name them by their digests, as the environment's variables are
/// now. The one that was found last stays loaded.
fn local_models() -> Arc<LocalModels> {
    let environment = environment();
    let mut shared = shared();
    match &shared.local {
        Some((of, local)) if *of == environment => Arc::clone(local),
        _ => {
            let local = Arc::new(LocalModels::new(&environment));
            shared.local = Some((environment, Arc::clone(&local)));
            local
        }
    }
}

/// Loads the model where it is not yet, and notes that.
pub fn share(model: Arc<llmzip::Model>) -> Arc<llmzip::Model> {
    if model.identity().builtin_code.is_some() && !IS_DEFAULT_LOADED.load(Ordering::Acquire) {
        model.vocabulary();
        IS_DEFAULT_LOADED.store(true, Ordering::Release);
    }
    model
}

/// Forgets models that another thread may have been loading.
pub fn after_fork_in_child() {
    let mut shared = shared();
    shared.local = None;
    if !IS_DEFAULT_LOADED.load(Ordering::Acquire) {
        shared.default = None;
    }
}

/// A language model.
#[pyclass(frozen, module = "llmzip._llmzip")]
pub struct Model {
    /// `None`: the compiled-in one.
    loaded: Option<Arc<llmzip::Model>>,
}

impl Model {
    /// The model itself.
    ///
    /// # Errors
    /// None on an intact build.
    pub fn share(&self) -> PyResult<Arc<llmzip::Model>> {
        self.loaded.as_ref().map_or_else(default_model, |model| Ok(Arc::clone(model)))
    }

    pub fn identity(&self) -> Identity {
        match &self.loaded {
            Some(model) => model.identity().clone(),
            None => llmzip::Model::default_identity(),
        }
    }

    fn of(model: Arc<llmzip::Model>) -> Self {
        let is_default = model.identity().builtin_code.is_some();
        Self { loaded: Some(model).filter(|_| !is_default) }
    }
}

#[pymethods]
impl Model {
    /// The compiled-in model.
    #[staticmethod]
    fn default() -> Self {
        Self { loaded: None }
    }

    /// The model that people call `name`, as its files are now.
    #[staticmethod]
    fn open(py: Python<'_>, name: PathBuf) -> PyResult<Self> {
        let local = LocalModels::new(&environment());
        py.detach(|| local.named(&name)).raise().map(Self::of)
    }

    /// The model of `digest` among those on this machine.
    #[staticmethod]
    fn find(py: Python<'_>, digest: &str, label: String) -> PyResult<Self> {
        let digest = parse_digest(digest).raise()?;
        if digest == llmzip::Model::default_identity().digest {
            return Ok(Self::default());
        }
        let (local, name) = (local_models(), ModelName::Digest { digest, label });
        py.detach(|| local.find(&name)).raise().map(Self::of)
    }

    #[getter]
    fn digest(&self) -> String {
        self.identity().hex()
    }

    #[getter]
    fn label(&self) -> String {
        self.identity().label
    }

    /// The tokens of `text`, each with the bits that it costs.
    fn bits<'py>(&self, py: Python<'py>, text: &[u8]) -> PyResult<Vec<(Bound<'py, PyBytes>, f64)>> {
        let model = self.share()?;
        let costs = py.detach(|| {
            let model = share(Arc::clone(&model));
            let table_log2 = Parameters::DEFAULT.table_log2;
            let context = Parameters::new(&model, None, table_log2, None)?.context;
            let costs = model.token_costs(context, text).into_iter();
            Ok::<_, Error>(
                costs.map(|token| (token.bytes.to_vec(), token.bits)).collect::<Vec<_>>(),
            )
        });
        let costs = costs.raise()?.into_iter();
        Ok(costs.map(|(bytes, bits)| (PyBytes::new(py, &bytes), bits)).collect())
    }
}

fn parse_digest(hex: &str) -> Result<[u8; 32], Error> {
    let digit = |at: usize| hex.as_bytes().get(at).and_then(|&c| char::from(c).to_digit(16));
    let byte = |i: usize| Some((digit(2 * i)? << 4 | digit(2 * i + 1)?) as u8);
    let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
    match bytes.filter(|_| hex.len() == 64).map(<[u8; 32]>::try_from) {
        Some(Ok(digest)) => Ok(digest),
        _ => {
            let message =
                format!("'{}' is no digest, expected 64 hexadecimal digits", hex.escape_debug());
            Err(Error::new(ErrorKind::InvalidArgument, message))
        }
    }
}

/// The models of a reader: the one that was named, if one was, and all on this machine.
pub struct Source {
    named: Option<Arc<llmzip::Model>>,
    default: Arc<llmzip::Model>,
    local: Arc<LocalModels>,
}

impl Source {
    /// # Errors
    /// None on an intact build.
    pub fn new(named: Option<&Model>) -> PyResult<Self> {
        let named = named.map(Model::share).transpose()?;
        Ok(Self { named, default: default_model()?, local: local_models() })
    }
}

impl ModelSource for Source {
    fn find(&self, wanted: &ModelName) -> Result<Arc<llmzip::Model>, Error> {
        if BuiltinModels::has(wanted) {
            return Ok(share(Arc::clone(&self.default)));
        }
        match self.named.as_ref().filter(|model| wanted.matches(model.identity())) {
            Some(model) => Ok(Arc::clone(model)),
            None => self.local.find(wanted),
        }
    }

    fn find_steering(&self, wanted: &SteeringName) -> Result<Arc<Steering>, Error> {
        self.local.find_steering(wanted)
    }

    fn find_adapter(&self, wanted: &AdapterName) -> Result<AdapterFiles, Error> {
        self.local.find_adapter(wanted)
    }
}
