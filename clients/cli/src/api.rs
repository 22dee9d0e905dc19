//! The server's native API, as far as the commands need it.

mod problem;
mod transfer;

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use crate::config::Session;
use crate::error::{Error, Result};
use crate::path::RemotePath;

pub use problem::Problem;
pub use transfer::{Content, Resume};

/// Calls that move no content are given up after this long.
const SHORT: Duration = Duration::from_secs(30);

const CONNECT: Duration = Duration::from_secs(10);

const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How many items a page of a listing has.
const PAGE: u32 = 1000;

/// A server, and who we are to it.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Everything up to and including `/api/v1`.
    base: String,
}

/// A file or folder.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// Names it for ever.
    pub node_id: String,
    /// Its name in its folder.
    pub name: String,
    kind: String,
    /// When it changed, in RFC 3339 and UTC.
    pub modified_at: String,
    /// Its content now; files have one.
    pub version: Option<Version>,
}

/// Content of a file.
#[derive(Clone, Debug, Deserialize)]
pub struct Version {
    /// Bytes.
    pub size: u64,
}

/// A page of a folder.
#[derive(Debug, Deserialize)]
struct Nodes {
    items: Vec<Node>,
    next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct NewSession {
    token: String,
}

/// A short link.
#[derive(Debug, Deserialize)]
pub struct Link {
    /// To give to others.
    pub url: String,
}

/// What there is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// Nothing.
    Missing,
}

impl Node {
    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.kind == "folder"
    }
}

impl Client {
    /// A client of the server at `url`; of nobody there when `token` is `None`.
    ///
    /// # Errors
    /// [`Error::Other`].
    pub fn new(url: &Url, token: Option<&str>) -> Result<Self> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| Error::Other("the remembered session is damaged; sign in again".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("holdall/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT)
            .tcp_keepalive(Duration::from_secs(30))
            // A token goes to the server that it was made for and nowhere else.
            .redirect(Policy::none());
        if url.scheme() == "http" {
            // Without TLS the system's certificates need not be there.
            builder = builder.tls_certs_only([]);
        }
        let http = builder
            .build()
            .map_err(|error| Error::Other(format!("cannot prepare TLS: {}", cause(&error))))?;
        Ok(Self { http, base: format!("{}/api/v1", url.as_str().trim_end_matches('/')) })
    }

    /// A client of the server where we are signed in.
    ///
    /// # Errors
    /// [`Error::Other`].
    pub fn of(session: &Session) -> Result<Self> {
        Self::new(&session.url, Some(&session.token))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// A call that moves no content.
    fn short(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).timeout(SHORT)
    }

    /// Registers an account.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Connection`].
    pub async fn register(&self, username: &str, password: &str, email: Option<&str>) -> Result<()> {
        #[derive(Serialize)]
        struct Body<'a> {
            username: &'a str,
            password: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            email: Option<&'a str>,
        }
        let request = self.short(Method::POST, "/accounts").header(KEY, new_key());
        send("cannot register", request.json(&Body { username, password, email })).await.map(drop)
    }

    /// Signs in, and returns the token of the session.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Connection`], [`Error::Other`].
    pub async fn sign_in(&self, login: &str, password: &str, device_name: &str) -> Result<String> {
        #[derive(Serialize)]
        struct Body<'a> {
            login: &'a str,
            password: &'a str,
            device_name: &'a str,
            kind: &'a str,
        }
        let body = Body { login, password, device_name, kind: "api" };
        let session: NewSession =
            json(send("cannot sign in", self.short(Method::POST, "/sessions").json(&body)).await?).await?;
        Ok(session.token)
    }

    /// Ends the session.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Connection`].
    pub async fn sign_out(&self) -> Result<()> {
        send("cannot sign out", self.short(Method::DELETE, "/sessions/current")).await.map(drop)
    }

    /// What there is at a path.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Connection`].
    pub async fn kind(&self, path: &RemotePath) -> Result<Kind> {
        if path.is_root() {
            return Ok(Kind::Folder);
        }
        // Asking for a page says that a folder is meant, so that of a file nothing is sent.
        let request = self.short(Method::GET, &format!("/fs{}?limit=1", path.encoded()));
        match send(&format!("cannot look at {path}"), request).await {
            Ok(_) => Ok(Kind::Folder),
            Err(error) if error.is("not_a_folder") => Ok(Kind::File),
            Err(error) if error.is("not_found") => Ok(Kind::Missing),
            Err(error) => Err(error),
        }
    }

    /// A page of a folder and the cursor of the next one, if there is one.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Connection`], [`Error::Other`].
    pub async fn list(&self, path: &RemotePath, cursor: Option<&str>) -> Result<(Vec<Node>, Option<String>)> {
        let mut url = format!("/fs{}?limit={PAGE}", path.encoded());
        if let Some(cursor) = cursor {
            url.push_str("&cursor=");
            url.extend(utf8_percent_encode(cursor, NON_ALPHANUMERIC));
        }
        let request = self.short(Method::GET, &url);
        let page: Nodes = json(send(&format!("cannot list {path}"), request).await?).await?;
        Ok((page.items, page.next_cursor))
    }

    /// The file or folder at a path.
    ///
    /// # Errors
    /// As [`list`](Self::list); [`Error::Refused`] when there is none.
    pub async fn node(&self, path: &RemotePath) -> Result<Node> {
        let Some(name) = path.name() else {
            return Err(Error::Usage("this does not work with the topmost folder".to_owned()));
        };
        let mut cursor: Option<String> = None;
        loop {
            let (items, next) = self.list(&path.parent(), cursor.as_deref()).await?;
            if let Some(found) = items.into_iter().find(|node| node.name == name) {
                return Ok(found);
            }
            if next.is_none() {
                let problem = Box::new(Problem::not_found());
                return Err(Error::Refused { doing: format!("cannot find {path}"), problem });
            }
            cursor = next;
        }
    }

    /// Makes a folder, and those above it that are missing.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Connection`].
    pub async fn make_folder(&self, path: &RemotePath) -> Result<()> {
        let request = self.short(Method::POST, &format!("/fs{}", path.encoded())).header(KEY, new_key());
        send(&format!("cannot make {path}"), request).await.map(drop)
    }

    /// Puts something into the trash.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Connection`].
    pub async fn trash(&self, path: &RemotePath) -> Result<()> {
        let request = self.short(Method::DELETE, &format!("/fs{}", path.encoded()));
        send(&format!("cannot remove {path}"), request).await.map(drop)
    }

    /// Renames and moves a node. The topmost folder has the id `root`.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Connection`].
    pub async fn move_node(&self, node_id: &str, parent_id: &str, name: &str) -> Result<()> {
        #[derive(Serialize)]
        struct Body<'a> {
            name: &'a str,
            parent_id: &'a str,
        }
        let request = self.short(Method::PATCH, &format!("/nodes/{node_id}")).json(&Body { name, parent_id });
        send("cannot move it", request).await.map(drop)
    }

    /// Makes a short link.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Connection`], [`Error::Other`].
    pub async fn link(&self, node_id: &str, expires_in: Option<u64>) -> Result<Link> {
        #[derive(Serialize)]
        struct Body<'a> {
            node_id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            expires_in: Option<u64>,
        }
        let request = self.short(Method::POST, "/links").header(KEY, new_key());
        json(send("cannot make a link", request.json(&Body { node_id, expires_in })).await?).await
    }
}

/// A new idempotency key: a call that is repeated with it happens once.
pub fn new_key() -> String {
    Uuid::now_v7().to_string()
}

/// Sends a request. Whatever is not a success is an error.
async fn send(doing: &str, request: RequestBuilder) -> Result<Response> {
    let response = request.send().await.map_err(|error| connection(doing, &error))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    if let Some(location) = response.headers().get(LOCATION).filter(|_| status.is_redirection()) {
        let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
        return Err(Error::Other(format!("{doing}: the server has moved to {location}; sign in there")));
    }
    let problem = Box::new(Problem::of(response).await);
    Err(Error::Refused { doing: doing.to_owned(), problem })
}

async fn json<T: DeserializeOwned>(response: Response) -> Result<T> {
    let body = response.bytes().await.map_err(|error| connection("no whole answer", &error))?;
    serde_json::from_slice(&body).map_err(|_| {
        Error::Other("the answer makes no sense; is this the address of a Holdall server?".to_owned())
    })
}

/// A lost connection, in words.
fn connection(doing: &str, error: &reqwest::Error) -> Error {
    let what = if error.is_connect() {
        format!("cannot connect: {}", cause(error))
    } else if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        format!("the connection broke: {}", cause(error))
    };
    Error::Connection { doing: doing.to_owned(), what }
}

/// The innermost cause, which says the most.
fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
