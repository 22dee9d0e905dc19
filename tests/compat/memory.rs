//! A large file takes no memory, through any of the older APIs.

mod setup;
mod signed_in;

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use harness::{Answer, Api, Content, Options, Persona, Process, Server, Service, Shape};
use http::Method;
use serde_json::Value;
use setup::options;
use signed_in::SignedIn;

const MIB: u64 = 1 << 20;
/// The most that File Uploader takes.
const SIZE: u64 = 100 * MIB;
/// The most that the server may grow.
const GROWTH: u64 = 16 * MIB;
/// Rounds without growth after which the server is warm.
const STEADY: u32 = 6;
const BOUNDARY: &str = "----large";

/// What is sent: the start and the end of a form, or nothing, around the content.
struct Upload {
    content: Content,
    head: String,
    end: String,
}

impl Upload {
    fn raw(name: &str) -> Self {
        Self { content: Content::new(name, SIZE), head: String::new(), end: String::new() }
    }

    fn form(name: &str, fields: &[(&str, &str)]) -> Self {
        let mut head = String::new();
        for (field, value) in fields {
            head.push_str(&format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n"
            ));
        }
        head.push_str(&format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"large.mp4\"\r\n\r\n"
        ));
        Self { content: Content::new(name, SIZE), head, end: format!("\r\n--{BOUNDARY}--\r\n") }
    }

    async fn send(&self, api: &Api, path: &str, headers: &[(&str, &str)]) -> Answer {
        let length = self.head.len() as u64 + SIZE + self.end.len() as u64;
        let around = |text: &str| futures::stream::iter([Ok(Bytes::from(text.to_owned()))]);
        let body = around(&self.head).chain(self.content.stream()).chain(around(&self.end));
        let mut call = api.call_at(Method::POST, path).header("content-length", &length.to_string());
        if !self.end.is_empty() {
            call = call.header("content-type", &format!("multipart/form-data; boundary={BOUNDARY}"));
        }
        let call = headers.iter().fold(call, |call, (name, value)| call.header(name, value));
        call.body(reqwest::Body::wrap_stream(body)).send().await
    }

    /// Reads a download and compares it.
    async fn is_at(&self, api: &Api, path: &str, headers: &[(&str, &str)]) {
        let call = api.call_at(Method::GET, path);
        let response = headers.iter().fold(call, |call, (name, value)| call.header(name, value)).open().await;
        assert_eq!((response.status().as_u16(), response.content_length()), (200, Some(SIZE)), "{path}");
        let mut hasher = blake3::Hasher::new();
        let mut pieces = response.bytes_stream();
        while let Some(piece) = pieces.next().await {
            hasher.update(&piece.expect("the download goes on"));
        }
        assert_eq!(hasher.finalize().to_hex().to_string(), self.content.digest(), "{path}");
    }
}

/// Runs something while looking again and again how much memory the server holds; gives the most.
async fn most_during(server: &Process, future: impl Future<Output = ()>) -> u64 {
    let memory = || server.memory().expect("tests of memory need /proc");
    let mut most = memory();
    tokio::pin!(future);
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    loop {
        tokio::select! {
            () = &mut future => return most.max(memory()),
            _ = ticks.tick() => most = most.max(memory()),
        }
    }
}

/// What the server held at most when it was warm.
struct Warm<'a> {
    server: &'a Process,
    most: u64,
}

impl Warm<'_> {
    async fn during(&self, what: &str, future: impl Future<Output = ()>) {
        let before = self.server.memory().expect("tests of memory need /proc");
        let most = most_during(self.server, future).await;
        println!("{what}: {} KiB, and {} KiB when warm", most / 1024, self.most / 1024);
        assert!(most < self.most + GROWTH, "{what}: from {} KiB to {} KiB", self.most / 1024, most / 1024);
        // Should it hold less now than it once did.
        assert!(most < before + SIZE / 2, "{what}: from {} KiB to {} KiB", before / 1024, most / 1024);
    }
}

/// The same through the native API.
async fn native(alice: &Persona, name: &str) {
    let content = Content::new(name, SIZE);
    let call = alice.put("/fs/warm").header("content-length", &SIZE.to_string());
    let sent = call.body(reqwest::Body::wrap_stream(content.stream())).send().await;
    assert!(sent.status.is_success(), "{}", sent.text());
    let mut download = alice.get("/fs/warm").open().await;
    while download.chunk().await.expect("the download goes on").is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_through_each() {
    let server = Server::start_with(Shape::OneProcess, small()).await;
    let _log = server.log_on_failure();
    let alice = server.persona("large").await;
    let signed_in = SignedIn::new(&alice).await;
    let trips = Trips { api: alice.anonymous(), alice: &alice, signed_in };
    let server = server.process(Service::Gateway);
    let mut warm = Warm { server, most: 0 };
    // Caches, pools and the allocator take some time until they have the size that they keep.
    let (mut round, mut steady) = (0, 0);
    while steady < STEADY {
        assert!(round < 60, "the server grows and grows: {} KiB", warm.most / 1024);
        let most = most_during(server, native(&alice, &format!("round {round}"))).await;
        steady = if most > warm.most + MIB { 0 } else { steady + 1 };
        warm.most = warm.most.max(most);
        round += 1;
    }
    println!("warm after {round} rounds: {} KiB", warm.most / 1024);
    warm.during("File Uploader", trips.file_uploader()).await;
    warm.during("CloudBuffer, files", trips.cloudbuffer_file()).await;
    warm.during("CloudBuffer, the buffer", trips.cloudbuffer_buffer()).await;
    warm.during("FILE DROP", trips.file_drop()).await;
    warm.during("SyncFile, raw", trips.syncfile(Upload::raw("syncfile raw"), "raw.bin")).await;
    warm.during("SyncFile, form", trips.syncfile(Upload::form("syncfile form", &[]), "form.bin")).await;
    warm.during("File storage API", trips.file_storage()).await;
}

/// Memory that is set aside is small, so that what is not set aside shows.
fn small() -> Options {
    let sizes = [
        ("uploads.memory", "16MiB"),
        ("uploads.small_memory", "4MiB"),
        ("downloads.memory", "16MiB"),
        ("downloads.content_cache", "4MiB"),
        ("downloads.manifest_cache", "4MiB"),
    ];
    sizes.iter().fold(options(), |options, (key, size)| options.set(Service::Blob, key, &format!("{size:?}")))
}

/// Goes up and down through each.
struct Trips<'a> {
    alice: &'a Persona,
    api: Api,
    signed_in: SignedIn,
}

impl Trips<'_> {
    async fn file_uploader(&self) {
        let upload = Upload::form("uploader", &[]);
        let sent =
            upload.send(&self.api, "/api/upload", &[("authorization", &self.signed_in.uploader)]).await;
        let file: Value = sent.expect(200).json();
        upload.is_at(&self.api, &format!("/file/{}", file["file_url"].as_str().expect("a url")), &[]).await;
    }

    async fn cloudbuffer_file(&self) {
        let upload = Upload::form("cloudbuffer", &[]);
        let page = upload
            .send(&self.api, "/file/load", &[("cookie", &self.signed_in.cookie)])
            .await
            .expect(200)
            .text();
        let token: String = page
            .split("token=")
            .nth(1)
            .expect("a link")
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        upload.is_at(&self.api, &format!("/file/get?token={token}"), &[]).await;
    }

    async fn cloudbuffer_buffer(&self) {
        let upload = Upload::raw("buffer");
        let headers = [
            ("cookie", self.signed_in.cookie.as_str()),
            ("x-data-type", "file"),
            ("x-file-name", "large.bin"),
        ];
        upload.send(&self.api, "/file/buffer", &headers).await.expect(200);
        upload.is_at(&self.api, "/file/buffer", &[("cookie", &self.signed_in.cookie)]).await;
    }

    async fn file_drop(&self) {
        let upload = Upload::form("drop", &[]);
        let file: Value = upload.send(&self.api, "/files/upload", &[]).await.expect(201).json();
        upload.is_at(&self.api, &format!("/files/{}", file["fileId"].as_str().expect("an id")), &[]).await;
    }

    async fn syncfile(&self, upload: Upload, name: &str) {
        let path = |op| format!("/v1/file?authid={}&op={op}&filepath={name}", self.signed_in.authid);
        let sent: Value = upload.send(&self.api, &path("upload"), &[]).await.expect(200).json();
        assert_eq!(sent["status"], "success", "{sent}");
        let link: Value = self.api.call_at(Method::GET, &path("download")).send().await.expect(200).json();
        let link = link["msg"].as_str().expect("a link");
        upload.is_at(&self.api, link.split_at(link.find('/').expect("a path")).1, &[]).await;
    }

    async fn file_storage(&self) {
        let name = &self.alice.username;
        let fields = [
            ("username", name.as_str()),
            ("user_id", &self.signed_in.user_id),
            ("filename", "large.mp4"),
            ("user_dir", name),
        ];
        let upload = Upload::form("storage", &fields);
        let service = [("authorization", self.signed_in.service.as_str())];
        let added = upload.send(&self.api, "/storage/UsersData/add_file", &service).await;
        let added: Value = added.expect(200).json();
        let folder = added["result"]["file_dir"].as_str().expect("a directory");
        upload.is_at(&self.api, &format!("/storage/files/{folder}/large.mp4"), &service).await;
    }
}
