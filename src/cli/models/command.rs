//! Steps that all verbs of `llmzip models` share: finding a model, checking its digest, reporting
//! it.

use super::show::ModelEntry;
use super::show_adapter::AdapterEntry;
use super::show_steering::SteeringEntry;
use crate::ErrorKind;
use crate::cli::exit::{BROKEN_PIPE, code_of};
use crate::cli::failures::Failures;
use crate::cli::names::{shown, without_suffix};
use crate::cli::session::CliSession;
use crate::cli::size::{counted, grouped};
use crate::cli::voice::Voice;
use crate::hub::{self, FoundModel, FoundSteering, STEERING_SUFFIX, StoredModel};
use crate::local::{ModelRef, SteeringRef};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// A running command on models, with its results so far.
pub struct ModelCommand<'a> {
    pub session: &'a CliSession,
    pub failures: &'a mut Failures,
    pub entries: Vec<ModelEntry>,
    pub steering: Vec<SteeringEntry>,
    pub adapters: Vec<AdapterEntry>,
    pub json: bool,
}

impl<'a> ModelCommand<'a> {
    /// Creates a command that has touched no model yet.
    pub fn new(session: &'a CliSession, failures: &'a mut Failures, json: bool) -> Self {
        let (entries, steering, adapters) = (Vec::new(), Vec::new(), Vec::new());
        Self { session, failures, entries, steering, adapters, json }
    }

    pub fn each(
        &mut self,
        models: &[PathBuf],
        mut work: impl FnMut(&mut Self, &Path) -> Result<()>,
    ) -> Result<()> {
        models.iter().try_for_each(|model| {
            let done = work(self, model);
            self.note(&shown(model), done)
        })
    }

    /// Records a failure; returns only broken pipes as errors.
    pub fn note(&mut self, name: &str, done: Result<()>) -> Result<()> {
        match done {
            Err(error) if code_of(&error) == BROKEN_PIPE => Err(error),
            Err(error) => {
                self.failures.note(name.to_owned(), &error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    pub fn find(&self, model: &Path) -> Result<FoundModel> {
        Ok(ModelRef::parse(model)?.find(self.session.models.store())?)
    }

    /// Finds the file of steering vectors, where `name` is that of one: it ends in `.steer`.
    pub fn find_steering(&self, name: &Path) -> Result<Option<FoundSteering>> {
        if without_suffix(name, STEERING_SUFFIX).is_none() || name.is_dir() {
            return Ok(None);
        }
        let found = SteeringRef::parse(name)?.find(self.session.models.store())?;
        Ok(Some(found))
    }

    /// Finds `model` and checks that the digest of a stored one is the recorded one.
    pub fn find_unchanged(&self, model: &Path) -> Result<FoundModel> {
        let found = self.find(model)?;
        if let FoundModel::Stored(stored) = &found {
            self.compare(stored)?;
        }
        Ok(found)
    }

    /// Computes the digest of `model` and compares it with the recorded one; returns it, and
    /// whether there was one.
    pub fn compare(&self, model: &StoredModel) -> Result<([u8; 32], bool)> {
        let records = self.session.models.store().records();
        let recorded = records.recorded(&model.folder);
        let digest = records.compute(&model.folder)?;
        match recorded {
            Some(recorded) if recorded != digest => {
                Err(hub::digest_mismatch(&model.label, &digest, &recorded).into())
            }
            recorded => Ok((digest, recorded.is_some())),
        }
    }

    /// Reports what was `done` to the model of `entry`.
    pub fn report(&mut self, entry: ModelEntry, done: &str) {
        if self.session.voice > Voice::Quiet && !self.json {
            let (label, len) = (entry.label.escape_debug(), grouped(entry.len));
            say!("{label}: {done}, {len} bytes, digest {}", entry.short_digest());
        }
        self.entries.push(entry);
    }

    /// Reports what was `done` to the adapter of `entry`.
    pub fn report_adapter(&mut self, entry: AdapterEntry, done: &str) {
        if self.session.voice > Voice::Quiet && !self.json {
            let (name, len) = (entry.name.escape_debug(), counted(entry.len, "byte"));
            say!("{name}: {done}, {len}, digest {}", entry.short_digest());
        }
        self.adapters.push(entry);
    }

    /// Reports what was `done` to the steering vectors of `entry`.
    pub fn report_steering(&mut self, entry: SteeringEntry, done: &str) {
        if self.session.voice > Voice::Quiet && !self.json {
            let (name, len) = (entry.name.escape_debug(), counted(entry.len, "byte"));
            say!("{name}: {done}, {len}, digest {}", entry.short_digest());
        }
        self.steering.push(entry);
    }
}

/// Returns the error of what was read for an imported file, or for one of the user's own: of the first, what it
/// should not be is damage.
pub fn damage_of(error: crate::Error, is_stored: bool) -> crate::Error {
    match error.kind() {
        ErrorKind::InvalidModel if is_stored => {
            let advice = "remove it (llmzip models rm) and import it again";
            crate::Error::new(ErrorKind::Corrupt, format!("{error}; {advice}"))
        }
        _ => error,
    }
}
