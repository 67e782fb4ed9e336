//! Requests to the hub, by `ureq`.
//!
//! Not by `hf-hub`: docs/decisions/own-hub-client.md says why.

use super::Watch;
use super::environment::{AccessToken, Environment};
use super::id::Reference;
use super::retry::Retries;
use crate::error::{Error, ErrorKind, Result};
use std::io::{self, Read};
use std::time::{Duration, Instant};
use ureq::http::Uri;
use ureq::{Agent, Body};

/// An answer, its body not read yet.
pub type Response = ureq::http::Response<Body>;

/// Limit of redirects.
const MAX_REDIRECTS: usize = 5;

/// Bytes a second that a body must have while the timeout lasts.
const SLOWEST: f64 = 1024.0;

/// Speaks with one endpoint and with those that it sends us to.
pub struct Client<'a> {
    agent: Agent,
    endpoint: String,
    origin: Origin,
    token: Option<AccessToken>,
    timeout: Duration,
    watch: &'a dyn Watch,
}

/// The origin that a token is valid for: scheme, host and port.
#[derive(Debug, PartialEq, Eq)]
struct Origin(String, String, u16);

/// How far to go for an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// To the end: the answer has the file's bytes.
    All,
    /// To the first answer that tells of the file, within the endpoint; it may be a redirect itself.
    Endpoint,
}

impl<'a> Client<'a> {
    /// A client of the endpoint in `environment`, which alone is shown the token; `watch` is told of
    /// pauses.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where that is not a URL, or the token none.
    pub fn new(environment: &Environment, watch: &'a dyn Watch) -> Result<Self> {
        let Environment { endpoint, timeout, .. } = environment;
        let (token, timeout) = (environment.token()?, *timeout);
        let origin = Origin::of(endpoint).ok_or_else(|| {
            let message = format!("HF_ENDPOINT is {endpoint:?}, expected http(s)://HOST");
            Error::new(ErrorKind::InvalidArgument, message)
        })?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("llmzip/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(timeout))
            .timeout_recv_response(Some(timeout))
            .timeout_per_read(Some(timeout))
            .build()
            .into();
        Ok(Self { agent, endpoint: endpoint.to_owned(), origin, token, timeout, watch })
    }

    /// The answer for `path` of the endpoint: its head only, where `follow` says so. A `range`
    /// begins at that byte.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] where there is no answer or a malformed one.
    pub fn get(&self, path: &str, follow: Follow, range: Option<u64>) -> Result<Response> {
        let mut retries = self.retries();
        loop {
            let response = self.follow(path, follow, range)?;
            let status = response.status();
            let is_busy = matches!(status.as_u16(), 408 | 429 | 500 | 502..=504);
            let why = || format!("{} answers {status}", self.endpoint);
            if !is_busy || !retries.wait(&why(), retry_after(&response)) {
                return Ok(response);
            }
        }
    }

    /// The pauses of one task.
    pub fn retries(&self) -> Retries<'a> {
        Retries::new(self.timeout, self.watch)
    }

    /// The body of `response`, which fails where it comes too slowly.
    pub fn body<'r>(&self, response: &'r mut Response) -> impl Read + use<'r> {
        let (inner, timeout) = (response.body_mut().as_reader(), self.timeout);
        Steady { inner, timeout, begin: Instant::now(), n: 0 }
    }

    /// Follows redirects from `path`.
    fn follow(&self, path: &str, follow: Follow, range: Option<u64>) -> Result<Response> {
        let mut url = format!("{}{path}", self.endpoint);
        for _ in 0..=MAX_REDIRECTS {
            let response = self.request(&url, follow, range)?;
            let Some(next) = redirect(&url, &response)? else { return Ok(response) };
            let is_away = Origin::of(&next).as_ref() != Some(&self.origin);
            let tells = is_away || header(&response, "X-Linked-Etag").is_some();
            if tells && follow == Follow::Endpoint {
                return Ok(response);
            }
            if is_away && self.origin.0 == "https" && !next.starts_with("https:") {
                return Err(failed(&url, "redirects from https to http"));
            }
            url = next;
        }
        Err(failed(&url, "redirects too often"))
    }

    fn request(&self, url: &str, follow: Follow, range: Option<u64>) -> Result<Response> {
        let mut request = match follow {
            Follow::All => self.agent.get(url),
            Follow::Endpoint => self.agent.head(url),
        };
        // A length is that of the file only where the answer is not compressed.
        request = request.header("Accept-Encoding", "identity");
        if let Some(from) = range {
            request = request.header("Range", format!("bytes={from}-"));
        }
        if let Some(token) =
            self.token.as_ref().filter(|_| Origin::of(url).as_ref() == Some(&self.origin))
        {
            request = request.header("Authorization", token.authorization());
        }
        request.call().map_err(|e| failed(url, e))
    }

    /// Turns a status of `response` other than success into the error that it means for `reference`.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMissing`] where there is no such model or no permission, [`ErrorKind::Io`]
    /// elsewhere.
    pub fn check(&self, response: &Response, reference: &Reference, what: &str) -> Result<()> {
        let (endpoint, status) = (&self.endpoint, response.status());
        let denied = match self.token {
            Some(_) => {
                "the token of HF_TOKEN or HF_TOKEN_PATH does not permit it; a gated model's \
                        terms must be accepted on its page"
            }
            None => {
                "it is private, gated or misspelt; set HF_TOKEN to access private or gated repositories"
            }
        };
        let message = match status.as_u16() {
            200..=399 => return Ok(()),
            401 | 403 => format!("{endpoint} refuses {what} of {reference}: {denied}"),
            404 => format!("{endpoint} has no {what} of {reference}: check name and revision"),
            _ => {
                let message = format!("{endpoint} answers {status} for {what} of {reference}");
                let advice = match retry_after(response) {
                    Some(pause) => format!("try again in {} s", pause.as_secs()),
                    None => "try again later".to_owned(),
                };
                return Err(Error::io(message, io::Error::other(advice)));
            }
        };
        Err(Error::new(ErrorKind::ModelMissing, message))
    }
}

/// A body that must come at [`SLOWEST`] or faster, on the average of each `timeout`.
struct Steady<R> {
    inner: R,
    timeout: Duration,
    /// Begin of this average.
    begin: Instant,
    /// Bytes since.
    n: usize,
}

impl<R: Read> Read for Steady<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.n += n;
        if n > 0 && self.begin.elapsed() >= self.timeout {
            if (self.n as f64) < SLOWEST * self.timeout.as_secs_f64() {
                let message = "fewer than 1,024 bytes a second come";
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            (self.begin, self.n) = (Instant::now(), 0);
        }
        Ok(n)
    }
}

/// The pause that a server asks for.
fn retry_after(response: &Response) -> Option<Duration> {
    header(response, "Retry-After")?.parse().ok().map(Duration::from_secs)
}

impl Origin {
    fn of(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let scheme = uri.scheme_str()?;
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let host = uri.host()?.to_ascii_lowercase();
        Some(Self(scheme.to_owned(), host, uri.port_u16().unwrap_or(default_port)))
    }
}

/// Where `response` for `url` sends us, if anywhere.
fn redirect(url: &str, response: &Response) -> Result<Option<String>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = header(response, "Location").unwrap_or_default();
    let Some(Origin(scheme, ..)) = Origin::of(location) else {
        let authority = url.split('/').take(3).collect::<Vec<_>>().join("/");
        return match location.starts_with('/') && !location.starts_with("//") {
            true => Ok(Some(authority + location)),
            false => Err(failed(url, format!("redirects to {location:?}, expected a URL"))),
        };
    };
    debug_assert!(scheme.starts_with("http"));
    Ok(Some(location.to_owned()))
}

/// The text of a response's header.
pub fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The error of a request that failed. Never a broken pipe, which means another thing to the shell.
/// An address's query may be a signature, and is left out.
pub fn failed(url: &str, error: impl ToString) -> Error {
    let url = url.split('?').next().unwrap_or_default();
    Error::io(format!("fetching {url}"), io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = |url| Origin::of(url);
        assert_eq!(origin("https://HUB.co/a"), origin("https://hub.co:443"));
        for other in ["http://hub.co", "https://hub.co:444", "https://hub.co.evil.org", "https://x"]
        {
            assert_ne!(origin("https://hub.co"), origin(other));
        }
        assert_eq!(origin("https://hub.co@evil.org/x").unwrap().1, "evil.org");
        for none in ["", "hub.co", "/a", "file:///etc/passwd", "ftp://hub.co"] {
            assert_eq!(origin(none), None, "{none}");
        }
    }

    #[test]
    fn messages_hold_no_signature() {
        let message = failed("https://cdn/x?Signature=secret", "timeout").to_string();
        assert_eq!(message, "fetching https://cdn/x: timeout");
    }
}
