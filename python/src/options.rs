//! Options of compression, as the package passes them.

use crate::error::Raise;
use crate::models::{Model, local_models, share};
use llmzip::archive::{NamedSteering, Options};
use llmzip::models::{Learning, LearningKind, Steering};
use llmzip::train::SeededModel;
use llmzip::{Error, ErrorKind};
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;

/// Options as a dictionary has them; all of its keys are needed.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct CodingOptions {
    level: i64,
    chunk_size: Option<i64>,
    lanes: Option<i64>,
    mix: bool,
    prefix: Vec<u8>,
    context: Option<i64>,
    learn: Option<String>,
    verify: bool,
    threads: Option<i64>,
    steer: Option<PathBuf>,
    steer_random: Option<(i64, u64)>,
}

impl CodingOptions {
    /// Those of the library, for `model`, and that model, loaded where it may run.
    ///
    /// # Errors
    /// InvalidArgumentError where one is out of range; those of finding and reading steering vectors.
    pub fn resolve(
        mut self,
        py: Python<'_>,
        model: &Model,
    ) -> PyResult<(Arc<llmzip::Model>, Options)> {
        let steering = (self.steer.take(), self.steer_random.take());
        let (model, options) = (model.share()?, self.without_steering(model)?);
        if !options.may_run_model() {
            return Ok((model, options));
        }
        let local = local_models();
        py.detach(|| {
            let model = share(model);
            let steering = match steering {
                (None, None) => None,
                (Some(_), Some(_)) => {
                    let message = "both steer and steer_random are given, expected one";
                    return Err(invalid(message.into()));
                }
                (Some(name), None) => {
                    let found = local.steering_named(&name)?;
                    Some(NamedSteering::of_file(&found.read()?, &found.name, &model)?)
                }
                (None, Some((count, seed))) => {
                    let most = Steering::MAX_VECTORS;
                    let n = u8::try_from(count).ok().filter(|&n| (1..=most).contains(&n.into()));
                    let n = n.ok_or_else(|| {
                        invalid(format!("steer_random is {count} vectors, expected 1 to {most}"))
                    })?;
                    Some(NamedSteering::random(&model, n, seed)?)
                }
            };
            Ok((model, options.steering(steering)))
        })
        .raise()
    }

    fn without_steering(self, model: &Model) -> PyResult<Options> {
        let learning = self.learning(model).raise()?;
        let out_of_range =
            |name, value| move |_| invalid(format!("{name} is {value}, out of range"));
        let number = |name, value: Option<i64>| {
            value.map(|value| u32::try_from(value).map_err(out_of_range(name, value))).transpose()
        };
        let byte = |name, value: i64| u8::try_from(value).map_err(out_of_range(name, value));
        let lanes = self.lanes.map(|lanes| byte("lanes", lanes)).transpose().raise()?;
        Ok(Options::default()
            .level(byte("level", self.level).raise()?)
            .chunk_size(number("chunk_size", self.chunk_size).raise()?)
            .lanes(lanes)
            .mix(self.mix)
            .prefix(self.prefix)
            .context(number("context", self.context).raise()?)
            .learning(learning)
            .verify(self.verify)
            .threads(n_threads(self.threads)?))
    }

    /// How `model` learns: one that is drawn from a seed does so unasked, as in the program.
    fn learning(&self, model: &Model) -> Result<Option<Learning>, Error> {
        let kind = match self.learn.as_deref() {
            None => None,
            Some("head") => Some(LearningKind::Head),
            Some("adapter") => Some(LearningKind::Adapter),
            Some("all") => Some(LearningKind::All),
            Some(other) => {
                let other = other.escape_debug();
                return Err(invalid(format!(
                    "learn is '{other}', expected 'head', 'adapter', 'all' or None"
                )));
            }
        };
        let label = model.identity().label;
        Ok(match label.parse::<SeededModel>() {
            Ok(seeded) if SeededModel::is_named(&label) => Some(seeded.learning(kind)),
            _ => kind.map(Learning::of),
        })
    }
}

/// Upper limit of threads, as in the program: more than any machine has, fewer than would exhaust one.
const MAX_THREADS: usize = 1024;

/// As many threads as were asked for, else as many as this process may use.
///
/// # Errors
/// InvalidArgumentError for fewer than one.
pub fn n_threads(asked: Option<i64>) -> PyResult<usize> {
    let Some(asked) = asked else {
        return Ok(available_parallelism().map_or(1, usize::from));
    };
    match usize::try_from(asked) {
        Ok(threads) if threads > 0 => Ok(threads.min(MAX_THREADS)),
        _ => Err(invalid(format!("threads is {asked}, expected at least 1"))).raise(),
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}
