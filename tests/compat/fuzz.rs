//! Whatever is sent to the older APIs, the server answers in good order, and goes on.
//!
//! Valid requests of all five are changed at random: method, path, query, headers, body, or simply bytes. The same each
//! time, unless `HOLDALL_E2E_SEED` says otherwise.

mod mutate;
mod setup;
mod signed_in;

use std::sync::atomic::{AtomicU64, Ordering};

use harness::{Answer, Api, Seed, Server, Service, Shape, raw};
use http::Method;
use mutate::{Request, request};
use serde_json::{Value, json};
use setup::options;
use signed_in::SignedIn;

const REQUESTS: u64 = 21_000;
const CONNECTIONS: usize = 24;
/// One request in so many is changed byte by byte, and may be no HTTP any more.
const ODD: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutated_requests_never_find_a_defect() {
    let server = Server::start_with(Shape::OneProcess, options()).await;
    let _log = server.log_on_failure();
    let mut seed = Seed::fixed("compat_fuzz", 20_261_122);
    let requests = requests(&server).await;
    let sent = AtomicU64::new(0);
    let workers = (0..CONNECTIONS).map(|_| work(&server, &requests, &sent, seed.fork()));
    let done: u64 = futures::future::join_all(workers).await.into_iter().sum();
    println!("{done} of {REQUESTS} requests did what they ask for");
    assert!(done > REQUESTS / 10, "only {done} requests went through: others are not worth much");
    let log = server.log();
    assert!(!log.contains("panicked"), "a handler panicked");
    assert!(server.process(Service::Gateway).try_exit().is_none());
    // It still does what it is for.
    server.api().call_at(Method::GET, "/readyz").send().await.expect(200);
    let after = server.persona("after").await;
    after.upload("file", "content").await;
    assert_eq!(after.download("file").await, "content");
    valid(&server, &requests).await;
}

/// Sends its share of the requests over one connection after the other.
///
/// Gives how many succeeded.
async fn work(server: &Server, requests: &[Request], sent: &AtomicU64, mut seed: Seed) -> u64 {
    let api = server.api();
    let mut done = 0;
    let mut connection = None;
    while sent.fetch_add(1, Ordering::Relaxed) < REQUESTS {
        let request = mutate::mutate(seed.pick(requests), requests, &mut seed);
        if seed.below(ODD) == 0 {
            let bytes = mutate::bytes(request.wire(&host(&api)), &mut seed);
            let mut own = raw::Connection::open(&api).await;
            own.send(&bytes).await;
            own.finish().await;
            if let Some(answer) = own.answer(!bytes.starts_with(b"HEAD ")).await {
                good_order(&String::from_utf8_lossy(&bytes), &answer);
            }
            continue;
        }
        let answer = call(&api, &mut connection, &request).await;
        good_order(&request.show(), &answer);
        done += u64::from(answer.status.is_success());
    }
    done
}

fn host(api: &Api) -> String {
    api.url().trim_start_matches("http://").to_owned()
}

/// Well-formed HTTP is always answered.
async fn call(api: &Api, connection: &mut Option<raw::Connection>, request: &Request) -> Answer {
    let mut own = match connection.take() {
        Some(open) => open,
        None => raw::Connection::open(api).await,
    };
    let wire = std::iter::once(request.wire(&host(api)).into());
    let answer = own.converse(wire, request.method != "HEAD").await;
    let answer = answer.unwrap_or_else(|| panic!("no answer to {}", request.show()));
    let closes = answer.headers.get("connection").is_some_and(|value| value == "close");
    if !closes && answer.status != 101 {
        *connection = Some(own);
    }
    answer
}

fn good_order(request: &str, answer: &Answer) {
    assert!(!answer.status.is_server_error(), "{} {} to\n{request}", answer.status, answer.text());
    if let Some(inside) = answer.revealed() {
        panic!("{} shows {inside:?}: {} to\n{request}", answer.status, answer.text());
    }
    if let Ok(body) = serde_json::from_slice::<Value>(&answer.body) {
        // SyncFile answers 200 whatever happens: a defect of the server has no number of the contract.
        let code = body["error_code"].as_u64().unwrap_or(1000);
        assert!((1000..2000).contains(&code), "{body} to\n{request}");
    }
}

/// Requests that a decent client would send, to every call of the five APIs.
async fn requests(server: &Server) -> Vec<Request> {
    let alice = server.persona("fuzz").await;
    let user = &alice.username;
    let password = harness::encode_segment(&alice.password);
    let credentials = json!({"username": user, "password": alice.password});
    let path = format!("/v1/getAuthID?username={user}&password={password}");
    let signed_in = SignedIn::new(&alice).await;
    let authid = &signed_in.authid;
    let uploader = format!("Authorization: {}", signed_in.uploader);
    let service = format!("Authorization: {}", signed_in.service);
    let cookie = format!("Cookie: {}", signed_in.cookie);
    let text = "X-Data-Type: text";
    let file = "X-Data-Type: file";
    let get = |path: &str| request("GET", path);
    let mut all = vec![
        get("/api"),
        request("POST", "/api/upload?include_ext=true&max_uses=3").form("file", "a.txt").header(&uploader),
        request("POST", "/api/upload").form("file", "a.html"),
        get("/api/get_files").header(&uploader),
        request("POST", "/api/register?bot=true").json(&json!({"username": "fuzz one", "password": "x"})),
        request("POST", "/api/login").json(&credentials),
        request("POST", "/api/refresh_token").json(&json!({"accessToken": "x.y.z"})),
        request("POST", "/api/logout").header("Authorization: Bearer x.y.z"),
        get("/api/delete/abcdefghij?key=6b9a1c1b-5594-4cb9-8d49-99a4c28782a1"),
        get("/file/abcdefghij").header("Accept: text/html"),
        get("/f/abc+efg=ij").header("Range: bytes=0-3"),
        get("/account/login?next=/account/profile/"),
        request("POST", "/account/login").json(&credentials),
        request("POST", "/account/login/").urlencoded("username=a&password=b"),
        request("POST", "/account/registet")
            .urlencoded("username=fuzz&email=f%40example.org&password=p&password_confirm=p"),
        get("/account/profile").header(&cookie),
        get("/account/logout/").header(&cookie),
        get("/file/load/").header(&cookie),
        request("POST", "/file/load").form("file", "a.txt").header(&cookie).header("Origin: http://x"),
        request("POST", "/file/load").form("file", "b.txt").header(&cookie),
        get(&format!("/file/get?token={}", "x".repeat(64))),
        request("POST", "/file/buffer").body("plain text").header(&cookie).header(text),
        request("POST", "/file/buffer").form("file", "a.txt").header(&cookie).header(file),
        request("POST", "/file/buffer?filename=q.txt")
            .body("raw")
            .header(&cookie)
            .header(file)
            .header("Content-Disposition: attachment; filename=\"a.txt\""),
        get("/file/buffer").header(&cookie),
        request("POST", "/files/upload").form("file", "a b.txt"),
        request("POST", "/files/upload?file_name=q").body("raw").header("X-File-Name: x"),
        get("/files?limit=3"),
        get("/files/66ddbf16bdd008b011f65d98").header("If-None-Match: \"x\""),
        request("PUT", "/files/66ddbf16bdd008b011f65d98").json(&json!({"file_name": "x"})),
        request("PUT", "/files/66ddbf16bdd008b011f65d98").form("file", "x"),
        request("DELETE", "/files/66ddbf16bdd008b011f65d98"),
        get("/v1/userRegister?username=fuzzy&password=x&email=fuzzy%40example.org&fmt=json"),
        get(&path),
        get(&format!("/v1/isAuthAlive?authid={authid}")),
        get("/v1/f?id=b3e75ec0-5cde-11e5-acbc-ea9f05b65156"),
        request("POST", "/v1/getAuthID").urlencoded("username=a&password=b"),
    ];
    for op in ["mkdir&path=a", "mkdir&path=a/b", "getdetail&path=root", "rename&path=a&name=b", "rm&path=a"] {
        all.push(get(&format!("/v1/folder?authid={authid}&op={op}")));
    }
    for op in ["list&path=root&recursive=1", "list&path=a%5Cb"] {
        all.push(get(&format!("/v1/folder?authid={authid}&op={op}")));
    }
    for name in ["t.txt", "a/t.txt"] {
        let upload = format!("/v1/file?authid={authid}&op=upload&filepath={name}");
        all.push(request("POST", &upload).body("raw").header("Content-Type: text/plain"));
        all.push(request("POST", &upload).form("xxx", "t.txt"));
        all.push(get(&format!("/v1/file?authid={authid}&op=download&filepath={name}")));
    }
    let parameters = json!({
        "username": user, "user_id": signed_in.user_id, "email": "x@example.org", "password": "$6$salt$hash", "tracking": "t",
        "new_email": "y@example.org", "user_dir": format!("{user}/d"), "filename": "a.txt",
        "old_filename": "a.txt", "new_filename": "b.txt", "new_folred": format!("{user}/d/e"),
        "pathway": format!("{user}/d"), "old_user_dir": format!("{user}/d"), "new_user_dir": "d2",
        "name_dir": format!("{user}/d"),
    });
    // Not those that delete the account.
    for method in [
        "Register/add_user",
        "Register/get_user_id",
        "Register/get_tracking",
        "LogIn/login_user",
        "LogIn/get_pwd",
        "LogIn/change_email",
        "UsersData/create_dir_for_user",
        "UsersData/rename_file",
        "UsersData/del_file",
        "UsersData/find_files_in_dirs",
        "UsersData/create_folder",
        "UsersData/get_folder",
        "UsersData/get_dir",
        "UsersData/change_dir_name",
        "UsersData/delete_dir",
    ] {
        all.push(request("POST", &format!("/storage/{method}")).json(&parameters).header(&service));
    }
    let fields = format!("username={user}&user_id={}&filename=a.txt&user_dir={user}%2Fd", signed_in.user_id);
    all.push(request("POST", "/storage/UsersData/add_file").fields(&fields, "file").header(&service));
    all.push(get(&format!("/storage/files/{user}/ab/cd/a.txt")).header(&service));
    all
}

/// The requests as they were are still answered.
async fn valid(server: &Server, requests: &[Request]) {
    let api = server.api();
    let mut connection = None;
    for request in requests {
        let answer = call(&api, &mut connection, request).await;
        good_order(&request.show(), &answer);
        assert!(answer.status != 405, "{} to\n{}", answer.status, request.show());
    }
}
