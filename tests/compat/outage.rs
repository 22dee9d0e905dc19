//! What the older APIs say when content is lost, or a service is away.

use harness::{Answer, Api, Persona, Server, Service, Shape, encode_segment};
use http::Method;
use serde_json::{Value, json};

use crate::setup::options;

/// Somebody who is signed in to SyncFile.
struct Syncing {
    api: Api,
    authid: String,
}

impl Syncing {
    async fn new(person: &Persona) -> Self {
        let api = person.anonymous();
        let path = format!(
            "/v1/getAuthID?username={}&password={}",
            person.username,
            encode_segment(&person.password)
        );
        let answer: Value = api.call_at(Method::GET, &path).send().await.expect(200).json();
        Self { api, authid: answer["authid"].as_str().expect("an authid").to_owned() }
    }

    async fn call(&self, method: Method, op: &str, path: &str, body: &str) -> Answer {
        let at = format!("/v1/file?op={op}&authid={}&filepath={path}", self.authid);
        self.api.call_at(method, &at).body(body.to_owned()).send().await
    }

    async fn is_told(&self, method: Method, op: &str, path: &str, error_code: i64, msg: &str) {
        let answer = self.call(method, op, path, "x").await.expect(200);
        let expected = json!({ "error_code": error_code, "msg": msg, "status": "error" });
        assert_eq!(answer.json::<Value>(), expected, "{op} {path}");
    }
}

/// A file that is in the records, and whose content is gone from the disk.
#[tokio::test]
async fn syncfile_tells_that_content_is_lost() {
    let mut server = Server::start_with(Shape::OneProcess, options()).await;
    let person = server.persona("sync").await;
    let syncing = Syncing::new(&person).await;
    syncing.call(Method::POST, "upload", "lost.txt", "content").await.expect(200);
    syncing.is_told(Method::POST, "upload", "lost.txt", 1202, "file already exist at server dir").await;
    server.stop().await;
    let packs = std::fs::read_dir(server.data_dir().join("blob/packs")).unwrap();
    for pack in packs {
        std::fs::OpenOptions::new().write(true).open(pack.unwrap().path()).unwrap().set_len(64).unwrap();
    }
    server.restart().await;
    syncing.is_told(Method::POST, "upload", "lost.txt", 1205, "file already exist at DB").await;
    // Everything else goes on.
    let answer: Value = syncing.call(Method::POST, "upload", "new.txt", "new").await.expect(200).json();
    assert_eq!(answer["error_code"], 1210);
}

#[tokio::test]
async fn syncfile_tells_that_it_is_busy() {
    let server = Server::start_with(Shape::FourProcesses, options()).await;
    let person = server.persona("sync").await;
    let syncing = Syncing::new(&person).await;
    syncing.call(Method::POST, "upload", "file.txt", "content").await.expect(200);
    server.process(Service::Metadata).kill9().await;
    syncing.is_told(Method::GET, "download", "file.txt", 1222, "server busy, repeat again").await;
}
