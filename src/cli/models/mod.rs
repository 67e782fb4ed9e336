//! `llmzip models`: downloads, lists, verifies, removes, exports, imports and quantizes models.

mod adapter;
pub mod args;
mod awq;
mod choices;
mod command;
mod evaluate;
mod export_import;
mod quantize;
mod show;
mod show_adapter;
mod show_steering;
pub mod source;
mod steering;
pub mod steering_ref;
mod watch;

use super::exit::UsageError;
use super::failures::Failures;
use super::json::{self, FailedFile};
use super::names::shown;
use super::session::CliSession;
use super::standard;
use super::voice::Voice;
use crate::ErrorKind;
use crate::hub::{self, FoundModel, Reference};
use crate::local::SteeringRef;
use anyhow::Result;
use args::Verb;
use command::ModelCommand;
use evaluate::{Engine, Subjects};
use serde::Serialize;
use show::ModelEntry;
use show_adapter::AdapterEntry;
use show_steering::SteeringEntry;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::slice::from_ref;
use watch::Bars;

/// Executes `verb`; a model that fails is recorded and does not stop the others.
///
/// # Errors
/// Errors that end the run: standard output closed.
pub fn run(session: &CliSession, verb: &Verb, failures: &mut Failures) -> Result<()> {
    let mut work = ModelCommand::new(session, failures, verb.json());
    match verb {
        Verb::Pull { models, offline, .. } => work.each(models, |w, m| w.pull(m, *offline))?,
        Verb::List { .. } => work.list()?,
        Verb::Info { model, .. } => work.each(from_ref(model), ModelCommand::info)?,
        Verb::Verify { models, .. } if models.is_empty() => work.verify_all()?,
        Verb::Verify { models, .. } => work.each(models, ModelCommand::verify_named)?,
        Verb::Rm { models, dry_run, .. } => work.each(models, |w, m| w.remove(m, *dry_run))?,
        Verb::Path { model: None, .. } => return Ok(work.print_places()?),
        Verb::Path { model: Some(model), .. } => work.each(from_ref(model), ModelCommand::path)?,
        Verb::Export { model, file, force, .. } => {
            work.each(from_ref(model), |w, m| w.export(m, file, *force))?
        }
        Verb::Quantize { model, kind, folder, .. } => {
            let folder = folder.as_deref();
            work.each(from_ref(model), |w, m| w.quantize(m, kind, folder))?
        }
        Verb::Evaluate {
            models, texts, choices, shots, examples, adapter, engine, device, ..
        } => {
            let engine = Engine::new(*engine, *device)?;
            let before = (examples.as_deref(), *shots);
            let subjects = Subjects::read(&mut work, texts, choices, before)?;
            return evaluate::run(&mut work, models, &subjects, engine, adapter.as_deref());
        }
        Verb::Import { source, .. } => work.each(from_ref(source), ModelCommand::import)?,
    }
    if work.json {
        json::print_document(&Document {
            schema: json::SCHEMA,
            models: &work.entries,
            steering: &work.steering,
            adapters: &work.adapters,
            errors: &work.failures.files,
        })?;
    }
    Ok(())
}

/// Document that all verbs write as JSON.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    models: &'a [ModelEntry],
    steering: &'a [SteeringEntry],
    adapters: &'a [AdapterEntry],
    errors: &'a [FailedFile],
}

impl ModelCommand<'_> {
    fn pull(&mut self, model: &Path, offline: bool) -> Result<()> {
        let models = &self.session.models;
        let name = model.to_str().unwrap_or_default();
        if name == "default" {
            return Err(UsageError(
                "the default model is compiled in and needs no download".into(),
            )
            .into());
        }
        let mut environment = models.environment.clone();
        environment.is_offline |= offline;
        let bars = Bars::new(self.session.progress, self.session.voice);
        let model = hub::pull(&environment, models.store(), &Reference::parse(name)?, &bars)?;
        drop(bars);
        let entry = ModelEntry::of(&FoundModel::Stored(model), models.store())?;
        self.report(entry, "stored");
        Ok(())
    }

    fn list(&mut self) -> Result<()> {
        let store = self.session.models.store();
        self.entries.push(ModelEntry::default_model());
        for model in store.models() {
            let entry = ModelEntry::of(&FoundModel::Stored(model), store);
            self.entries.extend(entry); // one that went away meanwhile is not here
        }
        self.steering
            .extend(store.steering_files().iter().filter_map(|f| SteeringEntry::of(f).ok()));
        self.adapters.extend(store.adapters().iter().filter_map(|f| AdapterEntry::of(f).ok()));
        if self.json {
            return Ok(());
        }
        let mut out = standard::lines()?;
        for entry in &self.entries {
            match self.session.voice {
                Voice::Quiet => writeln!(out, "{}", entry.label.escape_debug())?,
                _ => entry.print_line(&mut out)?,
            }
        }
        for entry in &self.steering {
            match self.session.voice {
                Voice::Quiet => writeln!(out, "{}", entry.name.escape_debug())?,
                _ => entry.print_line(&mut out)?,
            }
        }
        for entry in &self.adapters {
            match self.session.voice {
                Voice::Quiet => writeln!(out, "{}", entry.name.escape_debug())?,
                _ => entry.print_line(&mut out)?,
            }
        }
        Ok(out.flush()?)
    }

    fn info(&mut self, model: &Path) -> Result<()> {
        if let Some(found) = self.find_steering(model)? {
            return self.steering_info(&found);
        }
        if let Some(found) = self.find_adapter(model)? {
            return self.adapter_info(&found);
        }
        let found = self.find(model)?;
        let entry = ModelEntry::of(&found, self.session.models.store())?;
        let entry = entry.with_digest(&found.digest()?).with_facts(found.folder())?;
        if !self.json {
            entry.print(&mut standard::lines()?)?;
        }
        self.entries.push(entry);
        Ok(())
    }

    fn verify_all(&mut self) -> Result<()> {
        for model in self.session.models.store().models() {
            let found = FoundModel::Stored(model);
            let done = self.verify(&found);
            self.note(&found.label().escape_debug().to_string(), done)?;
        }
        for (folder, error) in self.session.models.store().damaged_imports() {
            let advice = "remove the folder and import the model again";
            let message = format!("an imported model is stored only in part: {error}; {advice}");
            let error = crate::Error::new(ErrorKind::Corrupt, message);
            self.note(&shown(&folder), Err(error.into()))?;
        }
        for found in self.session.models.store().steering_files() {
            let done = self.verify_steering(&found);
            self.note(&found.name.escape_debug().to_string(), done)?;
        }
        for found in self.session.models.store().adapters() {
            let done = self.verify_adapter(&found);
            self.note(&found.name.escape_debug().to_string(), done)?;
        }
        Ok(())
    }

    fn verify_named(&mut self, model: &Path) -> Result<()> {
        if let Some(found) = self.find_steering(model)? {
            return self.verify_steering(&found);
        }
        match self.find_adapter(model)? {
            Some(found) => self.verify_adapter(&found),
            None => self.verify(&self.find(model)?),
        }
    }

    /// Verifies the digest of `found` against the recorded one.
    fn verify(&mut self, found: &FoundModel) -> Result<()> {
        let store = self.session.models.store();
        let entry = ModelEntry::of(found, store)?;
        let FoundModel::Stored(model) = found else {
            self.report(entry.with_digest(&found.digest()?), "no recorded digest to compare with");
            return Ok(());
        };
        let (digest, was_recorded) = self.compare(model)?;
        let done = if was_recorded { "good" } else { "recorded now" };
        self.report(entry.with_digest(&digest), done);
        Ok(())
    }

    fn remove(&mut self, model: &Path, dry_run: bool) -> Result<()> {
        let store = self.session.models.store();
        // Only an import at the same time would see a half of it.
        let _lock = (!dry_run).then(|| store.lock());
        if let Some(found) = self.find_steering(model)? {
            let stored = SteeringRef::parse(model)?.find_stored(store);
            return self.remove_steering(&stored.unwrap_or(found), dry_run);
        }
        if let Some(found) = self.find_adapter(model)? {
            let stored = model.to_str().and_then(|name| store.find_adapter(name));
            return self.remove_adapter(&stored.unwrap_or(found), dry_run);
        }
        let mut found = self.find(model)?;
        if !matches!(found, FoundModel::Stored(_))
            && let [stored] = &store.imported(&model.to_string_lossy())[..]
        {
            // A folder or a file of that name cannot be meant.
            found = FoundModel::Stored(stored.clone());
        }
        let FoundModel::Stored(model) = &found else {
            let message = format!(
                "{} is not in the store, and only stored models can be removed",
                found.place()
            );
            return Err(UsageError(message).into());
        };
        let mut entry = ModelEntry::of(&found, store)?;
        entry.len = store.removable_len(model);
        if !dry_run {
            store.remove(model)?;
        }
        self.report(entry, if dry_run { "would be removed" } else { "removed" });
        Ok(())
    }

    /// Prints the model's folder, unescaped, for the shell.
    fn path(&mut self, model: &Path) -> Result<()> {
        if let Some(found) = self.find_steering(model)? {
            self.print_path(&found.path)?;
            self.steering.push(SteeringEntry::of(&found)?);
            return Ok(());
        }
        if let Some(found) = self.find_adapter(model)? {
            self.print_path(&found.folder)?;
            self.adapters.push(AdapterEntry::of(&found)?);
            return Ok(());
        }
        let found = self.find(model)?;
        let Some(folder) = found.folder() else {
            return Err(
                UsageError("the default model is compiled in and has no folder".into()).into()
            );
        };
        self.print_path(folder)?;
        self.entries.push(ModelEntry::of(&found, self.session.models.store())?);
        Ok(())
    }

    fn print_path(&self, path: &Path) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        let mut out = standard::lines()?;
        out.write_all(path.as_os_str().as_bytes())?;
        writeln!(out)
    }

    /// Prints the folders that are searched.
    fn print_places(&self) -> io::Result<()> {
        let environment = &self.session.models.environment;
        let places = [("hub_cache", &environment.hub_cache), ("model_dir", &environment.model_dir)];
        let mut out = standard::lines()?;
        if self.json {
            let text =
                |folder: &Option<PathBuf>| folder.as_ref().map(|f| f.to_string_lossy().into());
            let text = places.map(|(name, folder)| (name.to_owned(), text(folder)));
            let places: std::collections::BTreeMap<String, Option<String>> = text.into();
            serde_json::to_writer(
                &mut out,
                &serde_json::json!({ "schema": json::SCHEMA, "places": places }),
            )?;
            return writeln!(out);
        }
        places.iter().try_for_each(|(name, folder)| {
            let folder = folder.as_deref().map_or("-".to_owned(), shown);
            writeln!(out, "{name}  {folder}")
        })
    }
}
