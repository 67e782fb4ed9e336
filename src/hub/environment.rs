//! Settings from environment variables: where models are and where they come from.
//!
//! The variables are those of Hugging Face's `huggingface_hub`, with its meanings and defaults, so
//! that models which transformers fetched are found. They are read here and nowhere else.

use crate::error::{Error, ErrorKind, Result};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The hub, unless `HF_ENDPOINT` names a mirror.
const ENDPOINT: &str = "https://huggingface.co";

/// Longest token file that is read, in bytes.
const MAX_TOKEN_LEN: u64 = 4096;

/// Seconds that a server may say nothing, unless `HF_HUB_DOWNLOAD_TIMEOUT` says otherwise.
const TIMEOUT_S: f64 = 60.0;

/// Settings from environment variables. A folder is `None` where there is not even a home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// The hub's cache: `HF_HUB_CACHE`, else `hub` in `HF_HOME`, else in `huggingface` in
    /// `XDG_CACHE_HOME` or `~/.cache`.
    pub hub_cache: Option<PathBuf>,
    /// Imported models and digests: `LLMZIP_MODEL_DIR`, else `llmzip/models` in `XDG_DATA_HOME` or
    /// `~/.local/share`.
    pub model_dir: Option<PathBuf>,
    /// `HF_ENDPOINT` without a slash at its end, else the hub itself.
    pub endpoint: String,
    /// `HF_HUB_OFFLINE` is 1, on, yes or true.
    pub is_offline: bool,
    /// Time that a server may say nothing, `HF_HUB_DOWNLOAD_TIMEOUT` in seconds.
    pub timeout: Duration,
    /// `HF_TOKEN`.
    token: Option<AccessToken>,
    /// `HF_TOKEN_PATH`, else `token` in `HF_HOME`; `None` where tokens are not to be sent unasked.
    token_path: Option<PathBuf>,
}

impl Environment {
    /// Reads the variables through `lookup`. An empty one counts as not set.
    pub fn new(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let variable = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let home = variable("HOME").map(PathBuf::from);
        let path = |name: &str| Some(expand(variable(name)?.into(), home.as_deref()));
        let in_home = |folder: &str| home.as_ref().map(|home| home.join(folder));
        let is_true = |name: &str| variable(name).is_some_and(|value| is_true(&value));

        let cache_home = path("XDG_CACHE_HOME").or_else(|| in_home(".cache"));
        let data_home = path("XDG_DATA_HOME").or_else(|| in_home(".local/share"));
        let hf_home = path("HF_HOME").or_else(|| Some(cache_home?.join("huggingface")));
        let in_hf_home = |name: &str| hf_home.as_ref().map(|folder| folder.join(name));
        let endpoint = variable("HF_ENDPOINT").map(|url| url.to_string_lossy().into_owned());
        let is_implicit = !is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN");
        let timeout_s = variable("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|text| seconds(&text));
        let token = variable("HF_TOKEN").filter(|_| is_implicit);
        Self {
            hub_cache: path("HF_HUB_CACHE").or_else(|| in_hf_home("hub")),
            model_dir: path("LLMZIP_MODEL_DIR")
                .or_else(|| Some(data_home?.join("llmzip").join("models"))),
            endpoint: endpoint.as_deref().unwrap_or(ENDPOINT).trim_end_matches('/').to_owned(),
            is_offline: is_true("HF_HUB_OFFLINE"),
            timeout: Duration::from_secs_f64(timeout_s.unwrap_or(TIMEOUT_S)),
            token: token.map(|token| AccessToken(token.to_string_lossy().trim().to_owned())),
            token_path: path("HF_TOKEN_PATH")
                .or_else(|| in_hf_home("token"))
                .filter(|_| is_implicit),
        }
    }

    /// The user's token, from the environment or the token file.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where it cannot be a token. The message does not hold it.
    pub fn token(&self) -> Result<Option<AccessToken>> {
        let from_file = || read_token(self.token_path.as_deref()?);
        match self.token.clone().filter(|token| !token.0.is_empty()).or_else(from_file) {
            Some(token) if !token.0.bytes().all(|b| b.is_ascii_graphic()) => {
                let message = "the token of HF_TOKEN or HF_TOKEN_PATH has spaces or other \
                               characters that no token has";
                Err(Error::new(ErrorKind::InvalidArgument, message))
            }
            token => Ok(token),
        }
    }
}

/// A credential for private and gated models. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(String);

impl AccessToken {
    /// The value of an `Authorization` header.
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(..)")
    }
}

/// The token in the file `path`, if there is one.
fn read_token(path: &Path) -> Option<AccessToken> {
    let is_short = path.metadata().is_ok_and(|file| file.is_file() && file.len() <= MAX_TOKEN_LEN);
    let text = if is_short { std::fs::read_to_string(path).ok()? } else { return None };
    Some(AccessToken(text.trim().to_owned())).filter(|token| !token.0.is_empty())
}

/// `path` with a leading `~` replaced by `home`.
fn expand(path: PathBuf, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

/// A time in seconds that is one: up to an hour.
fn seconds(text: &OsString) -> Option<f64> {
    text.to_str()?.parse().ok().filter(|seconds| (0.001..=3600.0).contains(seconds))
}

fn is_true(value: &OsString) -> bool {
    let value = value.to_string_lossy().to_ascii_lowercase();
    ["1", "on", "yes", "true"].contains(&value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::new(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| value.into())
        })
    }

    fn cache(variables: &[(&str, &str)]) -> Option<PathBuf> {
        environment(&[&[("HOME", "/h")], variables].concat()).hub_cache
    }

    #[test]
    fn the_cache_is_where_transformers_looks_for_it() {
        let all = [("HF_HUB_CACHE", "/c"), ("HF_HOME", "/f"), ("XDG_CACHE_HOME", "/x")];
        assert_eq!(cache(&all), Some("/c".into()));
        assert_eq!(cache(&all[1..]), Some("/f/hub".into()));
        assert_eq!(cache(&all[2..]), Some("/x/huggingface/hub".into()));
        assert_eq!(cache(&[]), Some("/h/.cache/huggingface/hub".into()));
        assert_eq!(cache(&[("HF_HOME", "")]), cache(&[]));
        assert_eq!(cache(&[("HF_HOME", "~/f")]), Some("/h/f/hub".into()));
        assert_eq!(environment(&[]).hub_cache, None);
    }

    #[test]
    fn imported_models_have_their_folder() {
        let all = [("LLMZIP_MODEL_DIR", "/m"), ("XDG_DATA_HOME", "/d"), ("HOME", "/h")];
        assert_eq!(environment(&all).model_dir, Some("/m".into()));
        assert_eq!(environment(&all[1..]).model_dir, Some("/d/llmzip/models".into()));
        let at_home = Some("/h/.local/share/llmzip/models".into());
        assert_eq!(environment(&all[2..]).model_dir, at_home);
        assert_eq!(environment(&[]).model_dir, None);
    }

    #[test]
    fn endpoint_and_offline() {
        assert_eq!(environment(&[]).endpoint, ENDPOINT);
        let mirror = environment(&[("HF_ENDPOINT", "http://localhost:1/")]);
        assert_eq!(mirror.endpoint, "http://localhost:1");
        for (value, is_offline) in [("1", true), ("TRUE", true), ("0", false), ("", false)] {
            assert_eq!(environment(&[("HF_HUB_OFFLINE", value)]).is_offline, is_offline);
        }
        for (value, seconds) in [("5", 5.0), ("0.5", 0.5), ("0", 60.0), ("NaN", 60.0), ("x", 60.0)]
        {
            let timeout = environment(&[("HF_HUB_DOWNLOAD_TIMEOUT", value)]).timeout;
            assert_eq!(timeout, Duration::from_secs_f64(seconds), "{value}");
        }
    }

    #[test]
    fn tokens_come_from_the_variable_then_the_file_and_are_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("token"), "hf_default\n").unwrap();
        std::fs::write(path("other"), "hf_other\n").unwrap();
        let (home, other) = (path(""), path("other"));
        let sent = |variables: &[(&str, &str)]| {
            let variables = [&[("HF_HOME", home.as_str())], variables].concat();
            let token = environment(&variables).token().unwrap();
            token.map(|token| token.authorization())
        };
        let bearer = |token: &str| Some(format!("Bearer {token}"));
        assert_eq!(sent(&[]), bearer("hf_default"));
        assert_eq!(sent(&[("HF_TOKEN_PATH", &other)]), bearer("hf_other"));
        assert_eq!(sent(&[("HF_TOKEN_PATH", "/none")]), None);
        assert_eq!(sent(&[("HF_TOKEN", " hf_x\n"), ("HF_TOKEN_PATH", &other)]), bearer("hf_x"));
        assert_eq!(sent(&[("HF_TOKEN", "hf_x"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        let secret = environment(&[("HF_TOKEN", "hf_secret with\nspace")]);
        assert!(!secret.token().unwrap_err().to_string().contains("secret"));
        assert!(!format!("{secret:?}").contains("secret"));
    }
}
