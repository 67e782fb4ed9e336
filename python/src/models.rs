//! Models, and where decoders look for them.

use crate::error::Raise;
use llmzip::archive::{AdapterName, BuiltinModels, ModelName, ModelSource, SteeringName};
use llmzip::hub::{Environment, FoundAdapter, FoundSteering};
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
pub fn local_models() -> Arc<LocalModels> {
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
    let is_default = model.identity().builtin_code.is_some() && model.adapter().is_none();
    if is_default && !IS_DEFAULT_LOADED.load(Ordering::Acquire) {
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
    /// `None`: the compiled-in one, with no adapter.
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
        let is_default = model.identity().builtin_code.is_some() && model.adapter().is_none();
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

    /// The same model with the adapter that people call `name`, in place of any that it has.
    fn with_adapter(&self, py: Python<'_>, name: PathBuf) -> PyResult<Self> {
        let (model, local) = (self.share()?, local_models());
        let adapted = py.detach(|| {
            let files = local.adapter_named(&name)?.read()?;
            share(model).with_adapter(&files)
        });
        adapted.map(Arc::new).map(Self::of).raise()
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

    /// The BLAKE3 of its adapter's files, in hexadecimal, where it has one.
    #[getter]
    fn adapter(&self) -> Option<String> {
        let adapter = self.loaded.as_ref()?.adapter()?;
        Some(::blake3::Hash::from_bytes(adapter.digest).to_hex().to_string())
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

/// Where a reader finds what archives name: what it was given, then all on this machine.
#[pyclass(frozen, module = "llmzip._llmzip")]
#[derive(Clone)]
pub struct Source {
    named: Option<Arc<llmzip::Model>>,
    adapter: Option<FoundAdapter>,
    steering: Option<FoundSteering>,
    default: Arc<llmzip::Model>,
    local: Arc<LocalModels>,
}

#[pymethods]
impl Source {
    /// # Errors
    /// ModelMissingError where there is no adapter or file of steering vectors of that name.
    #[new]
    fn new(
        model: Option<&Model>,
        adapter: Option<PathBuf>,
        steer: Option<PathBuf>,
    ) -> PyResult<Self> {
        let (named, local) = (model.map(Model::share).transpose()?, local_models());
        let adapter = adapter.map(|name| local.adapter_named(&name)).transpose().raise()?;
        let steering = steer.map(|name| local.steering_named(&name)).transpose().raise()?;
        Ok(Self { named, adapter, steering, default: default_model()?, local })
    }
}

impl ModelSource for Source {
    fn find(&self, wanted: &ModelName) -> Result<Arc<llmzip::Model>, Error> {
        let named = self.named.as_ref().filter(|model| wanted.matches(model.identity()));
        match named {
            Some(model) => Ok(share(Arc::clone(model))),
            None if BuiltinModels::has(wanted) => Ok(share(Arc::clone(&self.default))),
            None => self.local.find(wanted),
        }
    }

    fn find_steering(&self, wanted: &SteeringName) -> Result<Arc<Steering>, Error> {
        let Some(found) = &self.steering else { return self.local.find_steering(wanted) };
        let named = self.local.require_steering(found, wanted);
        named.or_else(|error| self.local.find_steering(wanted).map_err(|_| error))
    }

    fn find_adapter(&self, wanted: &AdapterName) -> Result<AdapterFiles, Error> {
        let Some(found) = &self.adapter else { return self.local.find_adapter(wanted) };
        let named = self.local.require_adapter(found, wanted);
        named.or_else(|error| self.local.find_adapter(wanted).map_err(|_| error))
    }
}
