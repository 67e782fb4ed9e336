//! Checkpoints of a run: parameters, moments, and progress.

use super::network::TrainableNetwork;
use super::optimiser::{Moments, Optimiser};
use crate::error::{Error, ErrorKind, Result};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// File name in the model's folder.
pub const NAME: &str = "checkpoint.safetensors";

/// Key of [`RunProgress`] among the file's metadata.
const KEY: &str = "progress";

/// Progress of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunProgress {
    /// Options and data of the run, which a resumed run must share.
    pub what: String,
    /// Steps done.
    pub steps: u64,
    /// Seconds spent.
    pub elapsed_s: f64,
    /// Tokens and bytes of training data so far.
    pub tokens: u64,
    pub bytes: u64,
    /// Steps, with bits per byte of training and of held-out data.
    pub curve: Vec<(u64, f64, f64)>,
}

/// Writes a checkpoint.
///
/// # Errors
/// [`ErrorKind::Io`]
pub fn save(
    folder: &Path,
    network: &dyn TrainableNetwork,
    optimiser: &Optimiser,
    progress: &RunProgress,
) -> Result<()> {
    let mut tensors = Vec::new();
    for (parameter, moments) in network.parameters().iter().zip(&optimiser.moments) {
        let name = &parameter.name;
        tensors.push((format!("value.{name}"), le_bytes(&parameter.values)));
        tensors.push((format!("first.{name}"), le_bytes(&moments.first)));
        tensors.push((format!("second.{name}"), le_bytes(&moments.second)));
    }
    let views = tensors.iter().map(|(name, bytes)| {
        let view = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes);
        (name, view.expect("four bytes for each number"))
    });
    let json = serde_json::to_string(progress).expect("numbers and strings");
    let metadata = HashMap::from([(KEY.to_owned(), json)]);
    let file = safetensors::serialize(views, Some(metadata)).map_err(|e| failed(folder, &e))?;
    write(folder, NAME, &file)
}

/// Reads a checkpoint into a network and an optimiser of the same kind.
///
/// # Errors
/// [`ErrorKind::Io`]; [`ErrorKind::InvalidArgument`] where it belongs to another run.
pub fn load(
    folder: &Path,
    what: &str,
    network: &mut dyn TrainableNetwork,
    optimiser: &mut Optimiser,
) -> Result<RunProgress> {
    let path = folder.join(NAME);
    let file = fs::read(&path).map_err(|e| Error::io(format!("reading {}", path.display()), e))?;
    let (_, metadata) = SafeTensors::read_metadata(&file).map_err(|e| failed(folder, &e))?;
    let json = metadata.metadata().as_ref().and_then(|map| map.get(KEY));
    let json = json.ok_or_else(|| failed(folder, &"checkpoint has no training metadata"))?;
    let progress: RunProgress = serde_json::from_str(json).map_err(|e| failed(folder, &e))?;
    if progress.what != what {
        let message =
            format!("checkpoint belongs to a run with {}, not with {what}", progress.what);
        return Err(Error::new(ErrorKind::InvalidArgument, message).at(path.display()));
    }
    let tensors = SafeTensors::deserialize(&file).map_err(|e| failed(folder, &e))?;
    let read = |kind: &str, name: &str, len: usize| -> Result<Vec<f32>> {
        let name = format!("{kind}.{name}");
        let tensor = tensors.tensor(&name).map_err(|e| failed(folder, &e))?;
        match floats(tensor.data()) {
            values if values.len() == len => Ok(values),
            _ => Err(failed(folder, &format!("tensor {name} has a different size"))),
        }
    };
    network.update(&mut |parameters| {
        parameters.iter_mut().zip(&mut optimiser.moments).try_for_each(|(p, m)| {
            p.values = read("value", &p.name, p.values.len())?;
            *m = Moments {
                first: read("first", &p.name, m.first.len())?,
                second: read("second", &p.name, m.second.len())?,
            };
            Ok(())
        })
    })?;
    optimiser.steps = progress.steps;
    Ok(progress)
}

/// Beginning and end of the names of files that are not complete.
const DRAFT: [&str; 2] = [".llmzip-", ".tmp"];

/// Removes the files of a folder that [`write`] did not come to complete.
#[cfg(feature = "cli")]
pub fn remove_drafts(folder: &Path) {
    let [begin, end] = DRAFT.map(str::as_bytes);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(begin) && name.ends_with(end) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Writes a file of a folder atomically: its name has either the old content or the new.
///
/// # Errors
/// [`ErrorKind::Io`]
pub fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let [begin, end] = DRAFT;
    let (path, draft) = (folder.join(name), folder.join(format!("{begin}{name}{end}")));
    let io = |e| Error::io(format!("writing {}", path.display()), e);
    let write = || {
        let mut file = File::create(&draft)?;
        file.write_all(bytes).and_then(|()| file.sync_all())?;
        fs::rename(&draft, &path)
    };
    write().map_err(|e| {
        drop(fs::remove_file(&draft)); // the first error tells more
        io(e)
    })
}

fn le_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

fn failed(folder: &Path, what: &dyn std::fmt::Display) -> Error {
    let path = folder.join(NAME);
    Error::new(ErrorKind::InvalidModel, what.to_string()).at(path.display())
}
