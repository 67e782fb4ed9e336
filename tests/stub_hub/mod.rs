//! A hub on this machine: the addresses, headers and redirects of the real one, and its faults.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The commit that `main` and `v1` stand at.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What goes wrong with weights on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// So many answers break off in the middle.
    BreaksOff(usize),
    /// One bit is changed.
    OneBit,
    /// There is more than promised.
    TooLong,
    /// A range is asked for and everything is sent.
    IgnoresRange,
    /// The body comes one byte at a time, with pauses.
    Trickles,
    /// So many answers, of any kind, are this status and pause to be made.
    Busy(usize, &'static str, Option<&'static str>),
    /// Weights are announced with this length.
    LinkedSize(&'static str),
    /// All files have one ETag.
    OneEtag,
    /// Weights are on the hub itself, under an absolute address and an ETag of its own.
    OwnStorage,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub authorization: Option<String>,
    pub range: Option<usize>,
}

struct State {
    endpoint: String,
    /// By name of file.
    files: BTreeMap<String, Vec<u8>>,
    /// What lets one in; `None`: everybody is.
    token: Option<String>,
    fault: Fault,
    hub_log: Vec<Request>,
    storage_log: Vec<Request>,
    /// Where large files are.
    storage: String,
}

/// A hub with one model, `org/tiny`. Large files are kept by another server.
#[derive(Clone)]
pub struct StubHub {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

impl StubHub {
    /// Serves `files`.
    pub fn new(files: &[(&str, Vec<u8>)]) -> Self {
        let (hub, storage) = (listen(), listen());
        let files = files.iter().map(|(name, bytes)| (name.to_string(), bytes.clone())).collect();
        let state = State {
            endpoint: address(&hub),
            files,
            token: None,
            fault: Fault::None,
            hub_log: Vec::new(),
            storage_log: Vec::new(),
            storage: address(&storage),
        };
        let this = Self { endpoint: address(&hub), state: Arc::new(Mutex::new(state)) };
        this.serve(hub, State::hub);
        this.serve(storage, State::storage);
        this
    }

    fn serve(&self, listener: TcpListener, answer: fn(&mut State, Request) -> Vec<u8>) {
        let state = Arc::clone(&self.state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&state);
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let Some(request) = read_request(&stream) else { return };
                    let mut state = state.lock().unwrap();
                    let answer = answer(&mut state, request);
                    let trickles = state.fault == Fault::Trickles && answer.len() > 100_000;
                    drop(state);
                    match trickles {
                        true => trickle(&mut stream, &answer),
                        false => drop(stream.write_all(&answer)),
                    }
                });
            }
        });
    }

    pub fn set_fault(&self, fault: Fault) {
        self.state.lock().unwrap().fault = fault;
    }

    pub fn set_token(&self, token: &str) {
        self.state.lock().unwrap().token = Some(token.to_owned());
    }

    pub fn set_file(&self, name: &str, bytes: &[u8]) {
        self.state.lock().unwrap().files.insert(name.to_owned(), bytes.to_owned());
    }

    /// The requests that the hub itself got.
    pub fn hub_log(&self) -> Vec<Request> {
        self.state.lock().unwrap().hub_log.clone()
    }

    /// The requests that the server of large files got.
    pub fn storage_log(&self) -> Vec<Request> {
        self.state.lock().unwrap().storage_log.clone()
    }
}

impl State {
    /// The answer of a server that has too much to do, as often as that is to be.
    fn busy(&mut self, request: &Request) -> Option<Vec<u8>> {
        let Fault::Busy(n, status, pause) = &mut self.fault else { return None };
        *n = n.checked_sub(1)?;
        let pause = pause.map(|pause| ("Retry-After", pause.to_owned()));
        Some(respond(status, pause.as_slice(), b"", request))
    }

    fn hub(&mut self, request: Request) -> Vec<u8> {
        self.hub_log.push(request.clone());
        if let Some(answer) = self.busy(&request) {
            return answer;
        }
        if let Some(name) = request.path.strip_prefix("/bytes/") {
            let bytes = &self.files[name];
            return respond("200 OK", &[("ETag", "\"cdn\"".to_owned())], bytes, &request);
        }
        let is_let_in = match &self.token {
            Some(token) => request.authorization == Some(format!("Bearer {token}")),
            None => true,
        };
        if !is_let_in {
            return respond("401 Unauthorized", &[], b"", &request);
        }
        let revision_ok = |revision: &str| ["main", "v1", COMMIT].contains(&revision);
        if let Some(revision) = request.path.strip_prefix("/api/models/org/tiny/revision/")
            && revision_ok(revision)
        {
            return respond("200 OK", &[], self.info().as_bytes(), &request);
        }
        // A renamed model: the hub sends to its new name, on the hub itself.
        if request.path.contains("org/old/") {
            let location = request.path.replace("org/old/", "org/tiny/");
            return respond("307 Temporary Redirect", &[("Location", location)], b"", &request);
        }
        let file = request.path.strip_prefix("/org/tiny/resolve/");
        match file.and_then(|file| file.split_once('/')) {
            Some((revision, name)) if revision_ok(revision) => self.file(name, &request),
            _ => respond("404 Not Found", &[], b"", &request),
        }
    }

    fn info(&self) -> String {
        let siblings: Vec<_> =
            self.files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
        let id = "org/tiny";
        serde_json::json!({ "id": id, "sha": COMMIT, "siblings": siblings }).to_string()
    }

    fn file(&self, name: &str, request: &Request) -> Vec<u8> {
        let Some(bytes) = self.files.get(name) else {
            return respond("404 Not Found", &[], b"", request);
        };
        let commit = ("X-Repo-Commit", COMMIT.to_owned());
        let one_etag = (self.fault == Fault::OneEtag).then(|| "0".repeat(40));
        if !is_large(name) {
            let etag = hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref());
            let etag = one_etag.unwrap_or(etag);
            return respond("200 OK", &[commit, ("ETag", format!("\"{etag}\""))], bytes, request);
        }
        let sha256 = hex(digest(&SHA256, bytes).as_ref());
        let len = match self.fault {
            Fault::LinkedSize(len) => len.to_owned(),
            _ => bytes.len().to_string(),
        };
        let location = match self.fault {
            Fault::OwnStorage => format!("{}/bytes/{name}", self.endpoint),
            _ => format!("{}/bytes/{name}?Signature=secret", self.storage),
        };
        let headers = [
            commit,
            ("X-Linked-Size", len),
            ("X-Linked-Etag", format!("\"{}\"", one_etag.unwrap_or(sha256))),
            ("Location", location),
        ];
        respond("302 Found", &headers, b"", request)
    }

    fn storage(&mut self, request: Request) -> Vec<u8> {
        self.storage_log.push(request.clone());
        if let Some(answer) = self.busy(&request) {
            return answer;
        }
        let name = request.path.trim_start_matches("/bytes/").split('?').next().unwrap();
        let mut bytes = self.files[name].clone();
        match &mut self.fault {
            Fault::OneBit => bytes[1000] ^= 1,
            Fault::TooLong => bytes.push(0),
            _ => (),
        }
        let answer = match request.range.filter(|_| self.fault != Fault::IgnoresRange) {
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                let headers = [("Content-Range", range)];
                respond("206 Partial Content", &headers, &bytes[from..], &request)
            }
            None => respond("200 OK", &[], &bytes, &request),
        };
        match &mut self.fault {
            Fault::BreaksOff(0) => answer,
            Fault::BreaksOff(n) => {
                *n -= 1;
                answer[..answer.len() / 2].to_vec()
            }
            _ => answer,
        }
    }
}

/// Sends `answer`, all but its beginning a byte at a time.
fn trickle(stream: &mut TcpStream, answer: &[u8]) {
    let (begin, rest) = answer.split_at(1000);
    let mut sent = stream.write_all(begin);
    let mut bytes = rest.chunks(1);
    while sent.is_ok()
        && let Some(byte) = bytes.next()
    {
        thread::sleep(Duration::from_millis(20));
        sent = stream.write_all(byte);
    }
}

/// Whether the hub keeps the file elsewhere.
fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".bin")
}

fn respond(status: &str, headers: &[(&str, String)], body: &[u8], request: &Request) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    headers.iter().for_each(|(name, value)| out += &format!("{name}: {value}\r\n"));
    out += &format!("Content-Length: {}\r\n\r\n", body.len());
    let body = if request.method == "HEAD" { b"" } else { body };
    [out.as_bytes(), body].concat()
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut request = Request { method, path, authorization: None, range: None };
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.authorization = Some(value.to_owned()),
            "range" => {
                request.range = value.trim_matches(|c: char| !c.is_ascii_digit()).parse().ok()
            }
            _ => (),
        }
    }
    Some(request)
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn address(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().unwrap())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
