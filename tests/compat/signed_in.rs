//! One person, signed in to all of the older APIs.

use harness::{Persona, encode_segment};
use http::Method;
use serde_json::{Value, json};

use crate::setup::SERVICE_TOKEN;

/// What opens each of them.
pub struct SignedIn {
    /// The value of `Authorization` for File Uploader.
    pub uploader: String,
    /// The value of `Cookie` for CloudBuffer.
    pub cookie: String,
    /// SyncFile's.
    pub authid: String,
    /// The value of `Authorization` for the File storage API.
    pub service: String,
    /// The number of the account there.
    pub user_id: String,
}

impl SignedIn {
    /// Signs in.
    pub async fn new(alice: &Persona) -> Self {
        let api = alice.anonymous();
        let credentials = json!({"username": alice.username, "password": alice.password});
        let post = |path| api.call_at(Method::POST, path).json(&credentials).send();
        let login: Value = post("/api/login").await.expect(200).json();
        let session = post("/account/login").await.expect(200);
        let password = encode_segment(&alice.password);
        let path = format!("/v1/getAuthID?username={}&password={password}", alice.username);
        let authid: Value = api.call_at(Method::GET, &path).send().await.expect(200).json();
        let service = api.with_bearer(SERVICE_TOKEN);
        let call = service.call_at(Method::POST, "/storage/LogIn/get_user_id").json(&credentials);
        let user_id: Value = call.send().await.expect(200).json();
        Self {
            uploader: format!("Bearer {}", login["accessToken"].as_str().expect("a token")),
            cookie: session.header("set-cookie").split(';').next().expect("a cookie").to_owned(),
            authid: authid["authid"].as_str().expect("an authid").to_owned(),
            service: format!("Bearer {SERVICE_TOKEN}"),
            user_id: user_id["result"].to_string(),
        }
    }
}
