//! Download of a model into the cache: which files, in which order.

use super::cache::Cache;
use super::client::{Client, Follow};
use super::download::Downloader;
use super::environment::Environment;
use super::id::{Reference, is_commit};
use super::store::{Store, StoredModel};
use super::{Watch, not_here};
use crate::error::{Error, ErrorKind, Result};
use crate::models::Architecture;
use crate::models::checkpoint_files::{
    CONFIG, CheckpointFiles, MAX_JSON_LEN, is_file_name, read_limited,
};
use serde::Deserialize;
use std::collections::HashSet;
use std::io::Read;

/// Longest description of a model, in bytes.
const MAX_INFO_LEN: u64 = 32 << 20;

/// Longest file of weights, in bytes.
const MAX_WEIGHTS_LEN: u64 = 1 << 40;

/// The model card: not needed, but it says the licence.
const CARD: &str = "README.md";

/// The hub's description of a model.
#[derive(Deserialize)]
struct Info {
    /// The commit.
    sha: String,
    siblings: Vec<Sibling>,
}

/// One of a model's files.
#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// Fetches the model that `reference` names, as far as it is not here, and records its digest.
///
/// Without a network (`HF_HUB_OFFLINE`) or at a commit that is here already, nothing is asked.
///
/// # Errors
/// [`ErrorKind::ModelMissing`] where it is not here and there is no network, the hub has none or
/// denies it; [`ErrorKind::InvalidModel`] where llmzip cannot run it; [`ErrorKind::Corrupt`] where
/// it arrives damaged; [`ErrorKind::Io`].
pub fn pull(
    environment: &Environment,
    store: &Store,
    reference: &Reference,
    watch: &dyn Watch,
) -> Result<StoredModel> {
    let here = || store.find(reference).ok_or_else(|| not_here(reference));
    if environment.is_offline || (reference.commit().is_some() && here().is_ok()) {
        return here();
    }
    let no_home = || Error::new(ErrorKind::InvalidArgument, "no cache: set HOME or HF_HOME");
    let root = environment.hub_cache.as_deref().ok_or_else(no_home)?;
    let client = Client::new(environment, watch)?;
    let info = info(&client, reference)?;
    let repo = Cache::new(root).repo(&reference.id);
    let pinned = reference.pinned(&info.sha);
    let before = store.find(&pinned).map(|model| model.form);
    let downloader = Downloader { client: &client, repo: &repo, reference: pinned.clone(), watch };
    fetch_files(&downloader, &info).map_err(|e| e.at(&pinned))?;
    repo.set_ref(reference.revision(), &info.sha)?;
    let model = store.find(&pinned).ok_or_else(|| not_here(&pinned))?;
    if before.is_some_and(|form| form != model.form) {
        store.records().forget(&model.folder); // made of other files, it is another model
    }
    store.records().digest(&model.folder)?;
    Ok(model)
}

/// Asks what the model consists of.
fn info(client: &Client<'_>, reference: &Reference) -> Result<Info> {
    let revision = reference.revision().replace('/', "%2F");
    let path = format!("/api/models/{}/revision/{revision}", reference.id);
    let mut response = client.get(&path, Follow::All, None)?;
    client.check(&response, reference, "the description")?;
    let (mut body, reader) = (Vec::new(), client.body(&mut response));
    let read = reader.take(MAX_INFO_LEN).read_to_end(&mut body);
    read.map_err(|e| super::client::failed(&path, e))?;
    let info: Info = serde_json::from_slice(&body)
        .map_err(|e| super::client::failed(&path, format!("not a description of a model: {e}")))?;
    match is_commit(&info.sha) && reference.commit().is_none_or(|commit| commit == info.sha) {
        true => Ok(info),
        false => Err(super::client::failed(&path, format!("names the commit {:?}", info.sha))),
    }
}

/// Fetches what the model needs: what tells whether llmzip can run it first, weights last.
fn fetch_files(downloader: &Downloader<'_>, info: &Info) -> Result<()> {
    let names = info.siblings.iter().map(|file| file.rfilename.as_str());
    let names: HashSet<&str> = names.filter(|name| is_file_name(name)).collect();
    let folder = downloader.repo.snapshot(&info.sha);
    let fetch_json = |name: &str| {
        downloader.fetch(name, 1..=MAX_JSON_LEN)?;
        read_limited(&folder.join(name), MAX_JSON_LEN)
    };
    if names.contains(CONFIG) {
        Architecture::parse(&fetch_json(CONFIG)?)?; // llmzip can run it
    }
    let form = CheckpointFiles::choose(|name| names.contains(name), fetch_json)?;
    form.tokenizer.iter().try_for_each(|name| downloader.fetch(name, 1..=MAX_JSON_LEN))?;
    if names.contains(CARD) {
        downloader.fetch(CARD, 0..=MAX_JSON_LEN)?;
    }
    form.weights.iter().try_for_each(|name| downloader.fetch(name, 1..=MAX_WEIGHTS_LEN))
}
