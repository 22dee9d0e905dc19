//! The older APIs, as ratios to the native one. What costs more than a fifth is a defect.

use bytes::Bytes;
use harness::{Answer, Content, Persona, Server};
use http::Method;
use serde_json::Value;

use crate::{
    CONNECTIONS, Figures, MIB, ROUNDS, SMALL, SPAN,
    client::{self, Request, requests_per_second},
    mib_per_second,
    signed_in::SignedIn,
    timed,
};

const BOUNDARY: &str = "----load";
/// What File Uploader takes at most.
const HUNDRED: u64 = 100 * MIB;

type Send = Box<dyn Fn(u64, &[u8]) -> Call>;
type Find = Box<dyn Fn(&Answer) -> String>;

/// One of the APIs: how something is sent, and where it is read again.
struct Dialect {
    upload: &'static str,
    download: &'static str,
    large: &'static str,
    /// The call for a file of that number, with content.
    send: Send,
    /// The path to what was sent, from the answer.
    find: Find,
    /// Headers of the download.
    headers: Vec<String>,
}

struct Call {
    path: String,
    headers: Vec<String>,
    body: Vec<u8>,
}

impl Call {
    fn request(&self) -> Request {
        Request::any("POST", &self.path, &self.headers, &self.body)
    }
}

fn form(path: String, header: Option<String>, fields: &[(&str, String)], name: &str, content: &[u8]) -> Call {
    let mut body = Vec::with_capacity(content.len() + 1024);
    for (field, value) in fields {
        let part =
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let part =
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n");
    body.extend_from_slice(part.as_bytes());
    body.extend_from_slice(content);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    let mut headers = vec![format!("content-type: multipart/form-data; boundary={BOUNDARY}")];
    headers.extend(header);
    Call { path, headers, body }
}

fn text(answer: &Answer, member: &str) -> String {
    let body: Value = answer.json();
    body.pointer(member).and_then(Value::as_str).unwrap_or_else(|| panic!("no {member} in {body}")).to_owned()
}

fn dialects(alice: &Persona, signed_in: &SignedIn) -> Vec<Dialect> {
    let uploader = format!("authorization: {}", signed_in.uploader);
    let cookie = format!("cookie: {}", signed_in.cookie);
    let service = format!("authorization: {}", signed_in.service);
    let authid = signed_in.authid.clone();
    let fields = [("username", alice.username.clone()), ("user_id", signed_in.user_id.clone())];
    let user = alice.username.clone();
    let (file_cookie, buffer_cookie, service_download) = (cookie.clone(), cookie.clone(), service.clone());
    let link_authid = authid.clone();
    vec![
        Dialect {
            upload: "File Uploader: 4 KiB uploads/s",
            download: "File Uploader: 4 KiB downloads/s",
            large: "File Uploader: upload of 100 MiB, MiB/s",
            send: Box::new(move |n, content| {
                form("/api/upload".to_owned(), Some(uploader.clone()), &[], &format!("{n}.mp4"), content)
            }),
            find: Box::new(|answer| format!("/file/{}", text(answer, "/file_url"))),
            headers: Vec::new(),
        },
        Dialect {
            upload: "CloudBuffer, files: 4 KiB uploads/s",
            download: "CloudBuffer, files: 4 KiB downloads/s",
            large: "CloudBuffer, files: upload of 100 MiB, MiB/s",
            send: Box::new(move |n, content| {
                form("/file/load".to_owned(), Some(file_cookie.clone()), &[], &format!("{n}.bin"), content)
            }),
            find: Box::new(|answer| {
                let page = answer.text();
                let token = page.split("token=").nth(1).and_then(|rest| rest.split('"').next());
                format!("/file/get?token={}", token.expect("a link"))
            }),
            headers: Vec::new(),
        },
        Dialect {
            upload: "CloudBuffer, buffer: 4 KiB uploads/s",
            download: "CloudBuffer, buffer: 4 KiB downloads/s",
            large: "CloudBuffer, buffer: upload of 100 MiB, MiB/s",
            send: Box::new(move |_, content| Call {
                path: "/file/buffer".to_owned(),
                headers: vec![
                    buffer_cookie.clone(),
                    "x-data-type: file".to_owned(),
                    "x-file-name: load.bin".to_owned(),
                ],
                body: content.to_vec(),
            }),
            find: Box::new(|_| "/file/buffer".to_owned()),
            headers: vec![cookie],
        },
        Dialect {
            upload: "FILE DROP: 4 KiB uploads/s",
            download: "FILE DROP: 4 KiB downloads/s",
            large: "FILE DROP: upload of 100 MiB, MiB/s",
            send: Box::new(|n, content| {
                form("/files/upload".to_owned(), None, &[], &format!("{n}.bin"), content)
            }),
            find: Box::new(|answer| format!("/files/{}", text(answer, "/fileId"))),
            headers: Vec::new(),
        },
        Dialect {
            upload: "SyncFile: 4 KiB uploads/s",
            download: "SyncFile: 4 KiB downloads/s",
            large: "SyncFile: upload of 100 MiB, MiB/s",
            send: Box::new(move |n, content| Call {
                path: format!("/v1/file?op=upload&authid={authid}&filepath=sync{n}.bin"),
                headers: Vec::new(),
                body: content.to_vec(),
            }),
            find: Box::new(move |answer| {
                let name = answer.request.split("filepath=").nth(1).expect("a path");
                format!("/v1/file?op=download&authid={link_authid}&filepath={name}")
            }),
            headers: Vec::new(),
        },
        Dialect {
            upload: "File storage API: 4 KiB uploads/s",
            download: "File storage API: 4 KiB downloads/s",
            large: "File storage API: upload of 100 MiB, MiB/s",
            send: Box::new(move |n, content| {
                let mut fields = fields.to_vec();
                fields.push(("user_dir", format!("{user}/stored")));
                fields.push(("filename", format!("{n}.mp4")));
                let path = "/storage/UsersData/add_file".to_owned();
                form(path, Some(service.clone()), &fields, "x.mp4", content)
            }),
            find: Box::new(|answer| {
                let (dir, name) = (text(answer, "/result/file_dir"), text(answer, "/result/filename"));
                format!("/storage/files/{dir}/{name}")
            }),
            headers: vec![service_download],
        },
    ]
}

/// Prints a few rows for each.
pub async fn run(server: &Server) {
    println!("\n{:<48} {:>10} {:>14} {:>7}", "", "dialect", "native", "ratio");
    let alice = server.persona("compat").await;
    let signed_in = SignedIn::new(&alice).await;
    let mut number = 0;
    let only = std::env::args().nth(2).unwrap_or_default();
    for dialect in dialects(&alice, &signed_in).into_iter().filter(|one| one.upload.contains(&only)) {
        let mut uploads = Figures::new(dialect.upload);
        for _ in 0..ROUNDS {
            let mut fresh = |_: usize| {
                number += 1_000_000;
                let start = number;
                move |n: u64| (start + n, Content::new(format!("compat {start} {n}"), SMALL).bytes())
            };
            let own = |connection: usize| {
                let (content, send) = (fresh(connection), &dialect.send);
                move |n: u64| {
                    let (number, content) = content(n);
                    send(number, &content).request()
                }
            };
            let made = requests_per_second(&server.url(), CONNECTIONS, SPAN, own).await;
            let native = |connection: usize| {
                let (content, alice) = (fresh(connection), &alice);
                move |n: u64| {
                    let (number, content) = content(n);
                    Request::put(alice, &format!("/api/v1/fs/native/{connection}/{number}"), &content)
                }
            };
            uploads.add(made, requests_per_second(&server.url(), CONNECTIONS, SPAN, native).await);
        }
        uploads.print();

        number += 1;
        let content = Content::new(format!("compat {number}"), SMALL).bytes();
        let path = sent(&alice, &dialect, number, &content).await;
        let at = format!("/fs/native/{number}");
        assert!(alice.put(&at).body(content).send().await.status.is_success());
        let mut downloads = Figures::new(dialect.download);
        for _ in 0..ROUNDS {
            let own = |_| |_| Request::any("GET", &path, &dialect.headers, &[]);
            let made = requests_per_second(&server.url(), CONNECTIONS, SPAN, own).await;
            let native = |_| |_| Request::get(&alice, &format!("/api/v1{at}"));
            downloads.add(made, requests_per_second(&server.url(), CONNECTIONS, SPAN, native).await);
        }
        downloads.print();

        let host = server.url();
        let host = host.trim_start_matches("http://");
        let mut large = Figures::new(dialect.large);
        for _ in 0..ROUNDS {
            number += 1;
            let content = Content::new(format!("large {number}"), HUNDRED).bytes();
            let own = (dialect.send)(number, &content).request();
            let made = timed(client::send(host, &own)).await;
            drop(own);
            let content = Content::new(format!("large native {number}"), HUNDRED).bytes();
            let native = Request::put(&alice, &format!("/api/v1/fs/large/{number}"), &content);
            let plain = timed(client::send(host, &native)).await;
            large.add(mib_per_second(HUNDRED, made), mib_per_second(HUNDRED, plain));
        }
        large.print();
    }
}

/// Sends something, and gives the path to read it from.
async fn sent(alice: &Persona, dialect: &Dialect, number: u64, content: &Bytes) -> String {
    let api = alice.anonymous();
    let call = (dialect.send)(number, content);
    let with = |call: harness::Call, headers: &[String]| {
        headers
            .iter()
            .filter_map(|line| line.split_once(": "))
            .fold(call, |call, (name, value)| call.header(name, value))
    };
    let post = with(api.call_at(Method::POST, &call.path), &call.headers).body(call.body.clone());
    let answer = post.send().await;
    assert!(answer.status.is_success(), "{}", answer.text());
    let path = (dialect.find)(&answer);
    // SyncFile's link is asked for.
    if path.starts_with("/v1/file") {
        let link = text(&api.call_at(Method::GET, &path).send().await.expect(200), "/msg");
        return link.split_at(link.find('/').expect("a path")).1.to_owned();
    }
    path
}
