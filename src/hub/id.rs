//! Names of models on the hub: `org/name`, `org/name@revision`.
//!
//! They become paths, addresses and lines that a person is told to type, so only what the hub
//! allows is accepted: letters, digits, `.`, `_` and `-`.

use crate::error::{Error, ErrorKind, Result};
use crate::models::checkpoint_files::is_word;
use std::fmt;

/// Longest name that the hub gives, in bytes.
const MAX_ID_LEN: usize = 96;

/// Longest revision, in bytes.
const MAX_REVISION_LEN: usize = 128;

/// First part of the name of a model's folder in the cache.
const FOLDER_PREFIX: &str = "models--";

/// A repository: `org/name`, or `name` alone for a few old ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelId(String);

impl ModelId {
    /// Reads `org/name` or `name`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`].
    pub fn parse(text: &str) -> Result<Self> {
        let mut parts = text.split('/');
        let is_id = text.len() <= MAX_ID_LEN
            && parts.clone().count() <= 2
            && parts.all(is_word)
            && !text.contains("--");
        match is_id {
            true => Ok(Self(text.to_owned())),
            false => Err(invalid(format!("{text:?} is not a model's name, expected org/name"))),
        }
    }

    /// The model whose folder in the cache is called `name`.
    pub fn of_folder(name: &str) -> Option<Self> {
        let parts = name.strip_prefix(FOLDER_PREFIX)?;
        Self::parse(&parts.replacen("--", "/", 1)).ok()
    }

    /// The name without the organisation.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The name of its folder in the cache: `models--org--name`.
    pub fn folder(&self) -> String {
        format!("{FOLDER_PREFIX}{}", self.0.replace('/', "--"))
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A model, and which state of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The repository.
    pub id: ModelId,
    /// A branch, a tag or a commit; `None`: the branch `main`.
    pub revision: Option<String>,
}

impl Reference {
    /// Reads `ID` or `ID@REVISION`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`].
    pub fn parse(text: &str) -> Result<Self> {
        let Some((id, revision)) = text.split_once('@') else {
            return Ok(Self { id: ModelId::parse(text)?, revision: None });
        };
        if revision.len() > MAX_REVISION_LEN || !revision.split('/').all(is_word) {
            return Err(invalid(format!("{revision:?} is not a branch, tag or commit")));
        }
        Ok(Self { id: ModelId::parse(id)?, revision: Some(revision.to_owned()) })
    }

    /// Reads the label of an archive: only an `ID@COMMIT` in full names the very model.
    pub fn of_label(label: &str) -> Option<Self> {
        Self::parse(label).ok().filter(|reference| reference.commit().is_some())
    }

    /// The revision, where it is a commit.
    pub fn commit(&self) -> Option<&str> {
        self.revision.as_deref().filter(|revision| is_commit(revision))
    }

    /// The revision, `main` where none is given.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// The same model at `commit`.
    pub fn pinned(&self, commit: &str) -> Self {
        Self { id: self.id.clone(), revision: Some(commit.to_owned()) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.revision {
            Some(revision) => write!(f, "{}@{revision}", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

/// Whether `text` is a whole commit: 40 hexadecimal digits.
pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn names_come_back() {
        for text in ["gpt2", "EleutherAI/pythia-70m", "a/b@main", "a/b@refs/pr/1", "a_b/c.d@v1.0"] {
            assert_eq!(Reference::parse(text).unwrap().to_string(), text);
        }
        for text in ["gpt2", "EleutherAI/pythia-70m"] {
            let id = ModelId::parse(text).unwrap();
            assert_eq!(ModelId::of_folder(&id.folder()), Some(id));
        }
        assert_eq!(ModelId::parse("a/b").unwrap().folder(), "models--a--b");
        assert_eq!(ModelId::of_folder("datasets--a--b"), None);
    }

    #[test]
    fn names_that_would_leave_their_place_are_refused() {
        let long = "x".repeat(MAX_ID_LEN + 1);
        for text in [
            "", "/", "a/", "/a", "a/b/c", "..", "a/..", "../a", "a..b", ".a", "-a", "a b", "a;b",
            "a'b", "a--b", "a@", "a@/b", "a@../b", "a@b/..", "a@-n", "a@b@c", "ü", "a\n", "a@b\n",
            "a@$(x)", &long,
        ] {
            let error = Reference::parse(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
    }

    #[test]
    fn only_whole_commits_pin() {
        let label = format!("a/b@{COMMIT}");
        assert_eq!(Reference::of_label(&label).unwrap().commit(), Some(COMMIT));
        for label in ["a/b", "a/b@main", "a/b@0123456", &label.to_uppercase(), "my model"] {
            assert_eq!(Reference::of_label(label), None, "{label}");
        }
    }
}
