//! The models on this machine: those in the hub's cache, and those imported.

use super::cache::{Cache, Repo, failed, lock, names};
use super::environment::Environment;
use super::id::{ModelId, Reference};
use super::manifest::{MANIFEST, Manifest};
use super::records::Records;
use crate::error::{Error, ErrorKind, Result};
use crate::models::ModelFolder;
use crate::models::checkpoint_files::{CheckpointFiles, MAX_JSON_LEN, read_limited};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Folder of the digest records, beside imported models.
const RECORDS: &str = ".digests";

/// File among the records that is held by who changes imported models.
const LOCK: &str = "lock";

/// A model on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredModel {
    /// Its label in archives: `org/name@commit`, or its folder's name when it was imported.
    pub label: String,
    /// Where its files are.
    pub folder: PathBuf,
    /// Which files they are.
    pub form: CheckpointFiles,
    /// Their size, in bytes.
    pub len: u64,
    /// Whose folder it is.
    pub place: Place,
}

/// Where a model is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the hub's cache.
    Hub {
        /// The model.
        id: ModelId,
        /// Its state.
        commit: String,
    },
    /// In llmzip's own folder.
    Imported,
}

/// All models on this machine. Looks at the disk anew at each call.
#[derive(Debug, Clone)]
pub struct Store {
    cache: Option<Cache>,
    imports: Option<PathBuf>,
    records: Records,
}

impl Store {
    /// The models where `environment` says they are.
    pub fn new(environment: &Environment) -> Self {
        let imports = environment.model_dir.clone();
        let records = Records::new(imports.as_ref().map(|folder| folder.join(RECORDS)));
        Self { cache: environment.hub_cache.as_deref().map(Cache::new), imports, records }
    }

    /// The digests that are known.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The folder of imported models.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where there is not even a home.
    pub fn imports(&self) -> Result<&Path> {
        let message = "no folder for models: set HOME or LLMZIP_MODEL_DIR";
        let missing = || Error::new(ErrorKind::InvalidArgument, message);
        self.imports.as_deref().ok_or_else(missing)
    }

    /// Waits until no other program changes imported models; none does while the file is open.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]; those of [`Store::imports`].
    pub fn lock(&self) -> Result<File> {
        lock(&self.imports()?.join(RECORDS).join(LOCK))
    }

    /// All models that llmzip can run, those of the hub first, each kind in order of name.
    pub fn models(&self) -> Vec<StoredModel> {
        let repos = self.cache.iter().flat_map(Cache::repos);
        let hub = repos.flat_map(|repo| repo.commits().into_iter().map(move |c| (repo.clone(), c)));
        let hub = hub.filter_map(|(repo, commit)| hub_model(&repo, &commit));
        let imports = self.import_folders();
        hub.chain(imports.iter().filter_map(|folder| imported_model(folder))).collect()
    }

    /// The model that `reference` names. Without a revision that is the branch `main`; where that
    /// is not known here, the only state of the model that is.
    pub fn find(&self, reference: &Reference) -> Option<StoredModel> {
        let commit = self.cache.as_ref().and_then(|cache| {
            let repo = cache.repo(&reference.id);
            let commit = repo.commit_of(reference.revision())?;
            hub_model(&repo, &commit)
        });
        commit.or_else(|| {
            let mut models = self.models();
            models.retain(|model| model.is(reference));
            models.sort_by(|a, b| a.label.cmp(&b.label));
            models.dedup_by(|a, b| a.label == b.label);
            if models.len() == 1 { models.pop() } else { None }
        })
    }

    /// The imported models that archives call `name`, or the one whose folder is called so.
    pub fn imported(&self, name: &str) -> Vec<StoredModel> {
        let is_it =
            |m: &StoredModel| m.label == name || m.folder.file_name() == Some(name.as_ref());
        let mut models = self.models();
        models.retain(|model| model.place == Place::Imported && is_it(model));
        models
    }

    /// Folders of imported models that are there only in part, and what is wrong with each.
    pub fn damaged_imports(&self) -> Vec<(PathBuf, Error)> {
        let damage = |folder: PathBuf| {
            let manifest = read_limited(&folder.join(MANIFEST), MAX_JSON_LEN).ok()?;
            let checked = Manifest::parse(&manifest).map(drop);
            let checked = checked.and_then(|()| CheckpointFiles::of_folder(&folder).map(drop));
            let config = || ModelFolder::find(&folder)?.architecture().map(drop);
            Some((folder.clone(), checked.and_then(|()| config()).err()?))
        };
        self.import_folders().into_iter().filter_map(damage).collect()
    }

    /// Folders of imported models, in order of name.
    fn import_folders(&self) -> Vec<PathBuf> {
        let Some(root) = &self.imports else { return Vec::new() };
        let mut names = names(root);
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names.into_iter().map(|name| root.join(name)).collect()
    }

    /// Bytes that would be free without `model`.
    pub fn removable_len(&self, model: &StoredModel) -> u64 {
        let files = match (&model.place, &self.cache) {
            (Place::Hub { id, commit }, Some(cache)) => cache.repo(id).files_of(commit),
            _ => names(&model.folder).iter().map(|name| model.folder.join(name)).collect(),
        };
        files.iter().filter_map(|path| path.symlink_metadata().ok()).map(|file| file.len()).sum()
    }

    /// Removes `model` and what is known of it. An imported one loses its name first: where not all of it can be
    /// removed, no half of it has the name.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn remove(&self, model: &StoredModel) -> Result<()> {
        let folder = &model.folder;
        if let (Place::Hub { id, commit }, Some(cache)) = (&model.place, &self.cache) {
            self.records.forget(folder);
            return cache.repo(id).remove(commit);
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let aside = folder.with_file_name(format!(".llmzip-{name}.tmp"));
        drop(fs::remove_dir_all(&aside)); // what an earlier call could not remove
        let record = self.records.path(folder);
        fs::rename(folder, &aside).map_err(|e| failed("removing", folder, e))?;
        record.map(fs::remove_file); // a record too many does no harm
        fs::remove_dir_all(&aside).map_err(|e| failed("removing", &aside, e))
    }
}

impl StoredModel {
    /// Whether `reference` may mean it.
    fn is(&self, reference: &Reference) -> bool {
        match Reference::parse(&self.label) {
            Ok(own) if own.id == reference.id => {
                reference.revision.is_none() || reference.revision == own.revision
            }
            _ => false,
        }
    }
}

/// The model at `commit` in `repo`, if all of it is there and llmzip can run it.
fn hub_model(repo: &Repo, commit: &str) -> Option<StoredModel> {
    let label = format!("{}@{commit}", repo.id);
    let place = Place::Hub { id: repo.id.clone(), commit: commit.to_owned() };
    stored_model(repo.snapshot(commit), label, place)
}

fn imported_model(folder: &Path) -> Option<StoredModel> {
    let manifest = read_limited(&folder.join(MANIFEST), MAX_JSON_LEN).ok()?;
    let label = Manifest::parse(&manifest).ok()?.label;
    stored_model(folder.to_owned(), label, Place::Imported)
}

fn stored_model(folder: PathBuf, label: String, place: Place) -> Option<StoredModel> {
    let form = CheckpointFiles::of_folder(&folder).ok()?;
    ModelFolder::find(&folder).ok()?.architecture().ok()?;
    let len = |name: &str| folder.join(name).metadata().map_or(0, |file| file.len());
    let len = form.files().into_iter().map(len).sum();
    Some(StoredModel { label, folder, form, len, place })
}
