//! A person with an account.

use std::ops::Deref;

use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;

use crate::{Answer, Api, Link, Node, Page, Server, Space, encode_path};

/// A registered account with a signed-in client.
pub struct Persona {
    /// The username.
    pub username: String,
    /// The password.
    pub password: String,
    /// The account.
    pub account_id: String,
    /// The session of the client.
    pub session_id: String,
    api: Api,
}

impl Deref for Persona {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Persona {
    pub(crate) async fn register(api: Api, who: &str) -> Self {
        // The end of a UUIDv7 is random.
        let unique = Uuid::now_v7().simple().to_string().split_off(20);
        let username = format!("{who}-{unique}");
        let password = format!("correct horse {unique}");
        let answer = api
            .post("/accounts")
            .json(&json!({"username": username, "password": password}))
            .send()
            .await
            .expect(201);
        let account: serde_json::Value = answer.json();
        let account_id = account["account_id"].as_str().expect("an account has an id").to_owned();
        let mut persona =
            Self { username, password, account_id, session_id: String::new(), api: api.anonymous() };
        let session: serde_json::Value = persona.sign_in().await.expect(201).json();
        persona.session_id = session["session_id"].as_str().expect("a session has an id").to_owned();
        persona.api = api.with_bearer(session["token"].as_str().expect("a session has a token"));
        persona
    }

    /// The same person, with the same session, as a client of another server.
    #[must_use]
    pub fn at(&self, server: &Server) -> Self {
        let token = self.api.bearer().expect("a persona is signed in");
        Self {
            username: self.username.clone(),
            password: self.password.clone(),
            account_id: self.account_id.clone(),
            session_id: self.session_id.clone(),
            api: server.api().with_bearer(token),
        }
    }

    /// Signs in once more.
    pub async fn sign_in(&self) -> Answer {
        let credentials = json!({"username": self.username, "password": self.password});
        self.api.anonymous().post("/sessions").json(&credentials).send().await
    }

    /// The same person at the same server, with another session.
    pub async fn signed_in_anew(&self) -> Self {
        let session: serde_json::Value = self.sign_in().await.expect(201).json();
        let text = |name: &str| session[name].as_str().expect("a session has it").to_owned();
        Self {
            username: self.username.clone(),
            password: self.password.clone(),
            account_id: self.account_id.clone(),
            session_id: text("session_id"),
            api: self.api.with_bearer(&text("token")),
        }
    }

    /// An access token, for calling services directly.
    pub async fn access_token(&self) -> String {
        let session: serde_json::Value = self.post("/sessions/refresh").send().await.expect(200).json();
        session["access_token"].as_str().expect("an access token").to_owned()
    }

    /// The space with its counters.
    pub async fn space(&self) -> Space {
        self.get("/space").send().await.expect(200).json()
    }

    /// Makes a folder in another, or in `root`.
    pub async fn mkdir(&self, parent: &str, name: &str) -> Node {
        let answer = self.post("/folders").json(&json!({"parent_id": parent, "name": name})).send().await;
        answer.expect(201).json()
    }

    /// Uploads to a path, making folders on the way.
    pub async fn upload(&self, path: &str, content: impl Into<reqwest::Body>) -> Node {
        let answer = self.put(&format!("/fs/{}", encode_path(path))).body(content).send().await;
        assert!(matches!(answer.status.as_u16(), 200 | 201), "{} answered {}", answer.request, answer.text());
        answer.json()
    }

    /// Downloads from a path.
    pub async fn download(&self, path: &str) -> Bytes {
        self.get(&format!("/fs/{}", encode_path(path))).send().await.expect(200).body
    }

    /// Reads a node.
    pub async fn node(&self, id: &str) -> Node {
        self.get(&format!("/nodes/{id}")).send().await.expect(200).json()
    }

    /// All children of a folder, page by page.
    pub async fn children(&self, folder: &str, query: &str) -> Vec<Node> {
        self.all(&format!("/nodes/{folder}/children?{query}")).await
    }

    /// All items of a list, page by page. The path has a query already.
    pub async fn all<T: serde::de::DeserializeOwned>(&self, path: &str) -> Vec<T> {
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            let page: Page<T> = self.get(&format!("{path}{next}")).send().await.expect(200).json();
            items.extend(page.items);
            match page.next_cursor {
                Some(cursor) => next = format!("&cursor={cursor}"),
                None => return items,
            }
        }
    }

    /// Puts a node into the trash.
    pub async fn trash(&self, id: &str) {
        self.delete(&format!("/nodes/{id}")).send().await.expect(204);
    }

    /// Makes a link to a file.
    pub async fn link(&self, node: &str) -> Link {
        self.post("/links").json(&json!({"node_id": node})).send().await.expect(201).json()
    }
}
