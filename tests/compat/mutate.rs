//! Requests, and what can be changed about them.

use std::fmt::Write as _;

use harness::Seed;
use serde_json::Value;

const BOUNDARY: &str = "----fuzz";
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"];
/// Pieces of a URL.
const URL: [&str; 40] = [
    "%00",
    "%2e%2e",
    "%2f",
    "%5c",
    "%ff",
    "%c3%28",
    "..",
    ".",
    "'",
    "\"",
    "%",
    "%zz",
    "-1",
    "0",
    "1",
    "root",
    "99999999999999999999",
    "%F0%9F%8E%92",
    "%0d%0a",
    "upload",
    "load",
    "get",
    "buffer",
    "files",
    "~",
    "+",
    "=",
    ";",
    "%25",
    "null",
    "true",
    "&",
    "?",
    "//",
    "/",
    "%E2%80%AE",
    "NaN",
    "1e9",
    "[]",
    "@",
];
/// Pieces of a header's value.
const VALUES: [&str; 24] = [
    "",
    "x",
    "Bearer",
    "Bearer x",
    "Bearer a.b.c",
    "*",
    "*/*",
    "bytes=0-",
    "bytes=-1",
    "bytes=9-1",
    "bytes=0-0,2-3",
    "\"\"",
    "W/\"x\"",
    "http://evil.example",
    "null",
    "-1",
    "99999999999999999999",
    "text",
    "file",
    "%00",
    ";",
    "attachment; filename*=UTF-8''%ff",
    "filename=\"",
    "\u{e4}",
];
const TYPES: [&str; 12] = [
    "multipart/form-data",
    "multipart/form-data; boundary=",
    "multipart/form-data; boundary=\"----fuzz\"",
    "multipart/form-data; boundary=other",
    "multipart/mixed; boundary=----fuzz",
    "application/x-www-form-urlencoded",
    "application/json",
    "application/json; charset=utf-16",
    "text/plain",
    "application/octet-stream",
    "/",
    "",
];
const NAMES: [&str; 14] = [
    "Accept",
    "Accept-Encoding",
    "Authorization",
    "Content-Disposition",
    "Content-Encoding",
    "Cookie",
    "If-Match",
    "If-None-Match",
    "Origin",
    "Range",
    "Sec-Fetch-Site",
    "X-Data-Type",
    "X-File-Name",
    "X-Forwarded-For",
];
const BYTES: [&[u8]; 24] = [
    b"\0",
    b"\xff\xfe",
    b"\r\n",
    b"\r\n\r\n",
    b"------fuzz",
    b"------fuzz--",
    b"\r\n------fuzz\r\n",
    b"{",
    b"[",
    b"\"",
    b"null",
    b"1e999",
    b"\\u0000",
    b"\\ud800",
    b"=",
    b"&",
    b"%00",
    b"%",
    b"../",
    b"\xf0\x9f\x8e\x92",
    b"; filename=",
    b"name=\"file\"",
    b"-1",
    b"'; --",
];

/// A request that is well-formed HTTP.
#[derive(Clone)]
pub struct Request {
    pub method: String,
    path: String,
    headers: Vec<String>,
    body: Vec<u8>,
}

/// A request without headers and body.
pub fn request(method: &str, path: &str) -> Request {
    Request { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
}

impl Request {
    /// With one more header line.
    pub fn header(mut self, line: &str) -> Self {
        self.headers.push(line.to_owned());
        self
    }

    /// With a body as it is.
    pub fn body(self, body: &str) -> Self {
        Self { body: body.as_bytes().to_vec(), ..self }
    }

    /// With JSON.
    pub fn json(self, value: &Value) -> Self {
        self.body(&value.to_string()).header("Content-Type: application/json")
    }

    /// With an urlencoded form.
    pub fn urlencoded(self, form: &str) -> Self {
        self.body(form).header("Content-Type: application/x-www-form-urlencoded")
    }

    /// With a multipart form of one file.
    pub fn form(self, part: &str, file: &str) -> Self {
        self.fields("", part).renamed(file)
    }

    fn renamed(mut self, file: &str) -> Self {
        self.body = String::from_utf8_lossy(&self.body).replace("a.txt", file).into_bytes();
        self
    }

    /// With a multipart form of these fields (urlencoded, decoded here as far as needed) and a file.
    pub fn fields(self, fields: &str, part: &str) -> Self {
        let mut body = String::new();
        for (name, value) in fields.split('&').filter_map(|field| field.split_once('=')) {
            let value = value.replace("%2F", "/");
            write!(
                body,
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
            .unwrap();
        }
        write!(
            body,
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{part}\"; filename=\"a.txt\"\r\n\
             Content-Type: text/plain\r\n\r\nsome content\r\n--{BOUNDARY}--\r\n"
        )
        .unwrap();
        self.body(&body).header(&format!("Content-Type: multipart/form-data; boundary={BOUNDARY}"))
    }

    /// As it goes over the wire.
    pub fn wire(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.path);
        for line in &self.headers {
            write!(head, "{line}\r\n").unwrap();
        }
        write!(head, "Content-Length: {}\r\n\r\n", self.body.len()).unwrap();
        [head.into_bytes(), self.body.clone()].concat()
    }

    /// For people.
    pub fn show(&self) -> String {
        String::from_utf8_lossy(&self.wire("host")).into_owned()
    }
}

/// Another well-formed request, made from this one, sometimes with parts of others.
pub fn mutate(from: &Request, others: &[Request], seed: &mut Seed) -> Request {
    let mut request = from.clone();
    for _ in 0..=seed.below(3) {
        match seed.below(10) {
            0 => request.method = (*seed.pick(&METHODS)).to_owned(),
            1 | 2 => path(&mut request.path, seed),
            3 | 4 => query(&mut request.path, seed),
            5 | 6 => header(&mut request.headers, seed),
            7 => request.body.clone_from(&seed.pick(others).body),
            _ => request.body = bytes(std::mem::take(&mut request.body), seed),
        }
    }
    request.path.retain(|character| character.is_ascii_graphic());
    request.path.truncate(8000);
    if !request.path.starts_with('/') {
        request.path.insert(0, '/');
    }
    request
}

fn index(len: usize, seed: &mut Seed) -> usize {
    usize::try_from(seed.below(len as u64)).unwrap()
}

fn path(path: &mut String, seed: &mut Seed) {
    let (old, query) = match path.split_once('?') {
        Some((old, query)) => (old.to_owned(), format!("?{query}")),
        None => (path.clone(), String::new()),
    };
    let mut names: Vec<String> = old.split('/').skip(1).map(str::to_owned).collect();
    let at = index(names.len(), seed);
    match seed.below(8) {
        0 => names.insert(at, (*seed.pick(&URL)).to_owned()),
        1 => names[at] = (*seed.pick(&URL)).to_owned(),
        2 => names[at].push_str(seed.pick::<&str>(&URL)),
        3 => {
            names.remove(at);
        }
        4 => names.push(String::new()),
        5 => names[at] = names[at].to_ascii_uppercase(),
        6 => names[at] = names[at].bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02x}")),
        _ => names[at] = names[at].repeat(40),
    }
    *path = format!("/{}{query}", names.join("/"));
}

fn query(path: &mut String, seed: &mut Seed) {
    let (start, query) = path.split_once('?').unwrap_or((path, ""));
    let mut pairs: Vec<String> = query.split('&').map(str::to_owned).collect();
    let at = index(pairs.len(), seed);
    match seed.below(7) {
        0 => {
            pairs.remove(at);
        }
        1 => pairs.push(pairs[at].clone()),
        2 => pairs[at].push_str(seed.pick::<&str>(&URL)),
        3 => {
            let name = pairs[at].split('=').next().unwrap_or_default().to_owned();
            pairs[at] = format!("{name}={}", seed.pick(&URL));
        }
        4 => pairs[at] = format!("{}={}", pairs[at], "a".repeat(2000)),
        5 => pairs[at] = pairs[at].replace('=', seed.pick::<&str>(&["==", "%3d", "[]=", ""])),
        _ => pairs.push(format!("{}={}", seed.pick(&URL), seed.pick(&URL))),
    }
    *path = format!("{start}?{}", pairs.join("&"));
}

fn header(headers: &mut Vec<String>, seed: &mut Seed) {
    let kind = seed.below(6);
    if kind == 0 || headers.is_empty() {
        headers.push(format!("{}: {}", seed.pick(&NAMES), seed.pick(&VALUES)));
        return;
    }
    let at = index(headers.len(), seed);
    let name = headers[at].split(':').next().unwrap_or_default().to_owned();
    match kind {
        1 => {
            headers.remove(at);
        }
        2 => headers.push(headers[at].clone()),
        3 => headers[at] = format!("{name}: {}", seed.pick(&VALUES)),
        4 => {
            headers.retain(|line| !line.starts_with("Content-Type:"));
            headers.push(format!("Content-Type: {}", seed.pick(&TYPES)));
        }
        _ => headers[at].push_str(seed.pick::<&str>(&VALUES)),
    }
}

/// Changed byte by byte.
pub fn bytes(mut bytes: Vec<u8>, seed: &mut Seed) -> Vec<u8> {
    for _ in 0..=seed.below(3) {
        if bytes.is_empty() {
            return seed.pick(&BYTES).to_vec();
        }
        let at = index(bytes.len(), seed);
        match seed.below(6) {
            0 => bytes[at] ^= 1 << seed.below(8),
            1 => {
                bytes.remove(at);
            }
            2 => {
                bytes.splice(at..at, seed.pick(&BYTES).iter().copied());
            }
            3 => bytes.truncate(at.max(1)),
            4 => {
                let end = (at + 30).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let nested = seed.pick(&[&b"["[..], b"{\"a\":", b"("]).repeat(500);
                bytes.splice(at..at, nested);
            }
        }
    }
    bytes
}
