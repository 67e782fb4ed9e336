//! Search of the store for the model that an archive names by its digest.

use super::loader::{Loader, Verified};
use super::{OnSearch, other};
use crate::archive::ModelName;
use crate::error::{Error, ErrorKind, Result};
use crate::hub::{Reference, Store, StoredModel};
use crate::models::Model;
use std::sync::Arc;

/// A search of the store.
pub struct Search<'a> {
    pub store: &'a Store,
    pub loader: &'a Loader,
    pub on_search: &'a OnSearch,
}

impl Search<'_> {
    /// Finds the model in the store by its digest: by the records, then where the label says, then
    /// by computing the digests that are not recorded, smallest model first.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMissing`] where it is not there; those of loading it.
    pub fn find(&self, wanted: &ModelName, digest: &[u8; 32], label: &str) -> Result<Arc<Model>> {
        let records = self.store.records();
        let mut models = self.store.models();
        models.sort_by_key(|model| (model.label != label, model.len));
        let fresh = |model: &StoredModel| records.fresh(&model.folder);
        if let Some(model) = models.iter().find(|model| fresh(model) == Some(*digest)) {
            return match self.loader.verify(&model.folder, wanted)? {
                Verified::Model(model) => Ok(model),
                Verified::Other(got) => Err(mismatch(wanted, &model.label, &got)),
            };
        }
        let is_likely = |model: &StoredModel| {
            model.label == label || records.recorded(&model.folder) == Some(*digest)
        };
        let unknown = |model: &&StoredModel| fresh(model).is_none() && !is_likely(model);
        let unknown: Vec<u64> = models.iter().filter(unknown).map(|model| model.len).collect();
        let mut is_told = unknown.is_empty();
        let mut suspect = None;
        for model in &models {
            let is_likely = is_likely(model);
            let got = match fresh(model) {
                Some(got) => got,
                // Loaded at once, so that it is read once: it is the one, or damaged.
                None if is_likely => {
                    let verified = records.observe(&model.folder, || {
                        let verified = self.loader.verify(&model.folder, wanted)?;
                        let got = match &verified {
                            Verified::Model(_) => *digest,
                            Verified::Other(got) => *got,
                        };
                        Ok((verified, got))
                    });
                    match verified? {
                        Verified::Model(model) => return Ok(model),
                        Verified::Other(got) => got,
                    }
                }
                // Hashed without being held in memory: most likely it is another.
                None => match self.compute(model, &unknown, &mut is_told) {
                    Ok(got) if got == *digest => match self.loader.verify(&model.folder, wanted)? {
                        Verified::Model(model) => return Ok(model),
                        Verified::Other(got) => got,
                    },
                    Ok(got) => got,
                    Err(_) => continue,
                },
            };
            if is_likely && suspect.is_none() {
                suspect = Some(mismatch(wanted, &model.label, &got));
            }
        }
        Err(suspect.unwrap_or_else(|| missing(wanted, label)))
    }

    /// Computes and records the digest of one of the models of lengths `unknown`; before the first,
    /// says that they are read.
    fn compute(
        &self,
        model: &StoredModel,
        unknown: &[u64],
        is_told: &mut bool,
    ) -> Result<[u8; 32]> {
        if !std::mem::replace(is_told, true) {
            (self.on_search)(unknown.len(), unknown.iter().sum());
        }
        self.store.records().compute(&model.folder)
    }
}

/// The error of a stored model whose files have another digest than the archive needs.
fn mismatch(wanted: &ModelName, label: &str, got: &[u8; 32]) -> Error {
    let label = label.escape_debug();
    let what = format!("local files of '{label}' have a different digest (modified or corrupted)");
    other(wanted, &what, got)
}

/// The error of a model that is not on this machine. The label is foreign text: only where it is
/// nothing but a model's name does it become a line to type.
fn missing(wanted: &ModelName, label: &str) -> Error {
    let advice = match Reference::of_label(label) {
        Some(reference) => format!("get it with:  llmzip models pull {reference}"),
        None => {
            "name its folder with -m, or import it with:  llmzip models import FOLDER".to_owned()
        }
    };
    let message = format!("the archive needs {wanted}, not found here; {advice}");
    Error::new(ErrorKind::ModelMissing, message)
}
