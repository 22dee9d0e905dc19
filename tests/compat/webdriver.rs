//! Headless Chromium, driven over the WebDriver protocol (W3C).

use std::{fs, panic::AssertUnwindSafe, path::Path, time::Duration};

use futures::FutureExt;
use harness::{Command, Process, eventually};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The key of a WebDriver element reference.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser that nobody else uses, with cookies of its own.
pub struct Browser {
    http: Client,
    session: String,
    _profile: TempDir,
}

/// Something on a page.
pub struct Element<'a> {
    browser: &'a Browser,
    path: String,
}

/// Starts that many browsers, with scripts of pages on or off, runs a test with them and ends them, however it goes.
pub async fn with_browsers<const N: usize>(scripts: bool, test: impl AsyncFnOnce(&[Browser; N])) {
    let (driver, url) = driver().await;
    let mut browsers = Vec::new();
    for _ in 0..N {
        browsers.push(Browser::start(&url, scripts).await);
    }
    let browsers: [Browser; N] = browsers.try_into().ok().expect("N of them");
    let done = AssertUnwindSafe(test(&browsers)).catch_unwind().await;
    for browser in &browsers {
        if done.is_err() {
            eprintln!(
                "{}\n{}",
                browser.url().await,
                browser.get("/source").await.as_str().unwrap_or_default()
            );
        }
        // Should it be gone already, that is what was wanted.
        let _ = browser.http.delete(&browser.session).send().await;
    }
    drop(driver);
    if let Err(panic) = done {
        std::panic::resume_unwind(panic);
    }
}

async fn driver() -> (Process, String) {
    let missing = "chromedriver is not installed: apt-get install chromium chromium-driver";
    let process = Command::installed("chromedriver").expect(missing).arg("--port=0").start();
    let port = eventually("chromedriver listens", async || {
        assert!(process.try_exit().is_none(), "{}", process.log());
        let log = process.log();
        let port = log.split("successfully on port ").nth(1)?.split(|c: char| !c.is_ascii_digit()).next()?;
        port.parse::<u16>().ok().filter(|port| *port > 0)
    });
    let port = port.await;
    (process, format!("http://127.0.0.1:{port}"))
}

impl Browser {
    async fn start(driver: &str, scripts: bool) -> Self {
        let profile =
            tempfile::Builder::new().prefix("holdall-browser-").tempdir().expect("a temporary folder");
        let args = [
            "--headless=new",
            // Root needs it, and only pages of our own are shown.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            // Ends when the driver does.
            "--remote-debugging-pipe",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let scripts = if scripts { 1 } else { 2 };
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {
                "args": args,
                "prefs": {"profile.managed_default_content_settings.javascript": scripts},
            },
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let http = Client::builder().no_proxy().tls_certs_only([]).timeout(Duration::from_secs(60)).build();
        let http = http.expect("a client without TLS roots");
        let started = http.post(format!("{driver}/session")).json(&capabilities).send().await;
        let started: Value = started.expect("chromedriver answers").json().await.expect("JSON");
        let id = started["value"]["sessionId"].as_str().unwrap_or_else(|| {
            panic!("chromium does not start (apt-get install chromium chromium-driver): {started}")
        });
        Self { session: format!("{driver}/session/{id}"), http, _profile: profile }
    }

    async fn call(&self, request: reqwest::RequestBuilder) -> Result<Value, Value> {
        let answer = request.send().await.expect("chromedriver answers");
        let good = answer.status().is_success();
        let value = answer.json::<Value>().await.expect("JSON")["value"].take();
        if good { Ok(value) } else { Err(value) }
    }

    async fn get(&self, path: &str) -> Value {
        let value = self.call(self.http.get(format!("{}{path}", self.session))).await;
        value.unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    async fn try_post(&self, path: &str, body: Value) -> Result<Value, Value> {
        self.call(self.http.post(format!("{}{path}", self.session)).json(&body)).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.try_post(path, body).await.unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// Opens a page.
    pub async fn open(&self, url: &str) {
        self.post("/url", json!({"url": url})).await;
    }

    /// Where it is.
    pub async fn url(&self) -> String {
        self.get("/url").await.as_str().expect("a text").to_owned()
    }

    /// What a CSS selector finds first, as soon as there is something.
    pub async fn find(&self, selector: &str) -> Element<'_> {
        eventually(&format!("the page has {selector}"), async || {
            let found = self.try_post("/element", json!({"using": "css selector", "value": selector})).await;
            let id = found.ok()?[ELEMENT].as_str()?.to_owned();
            Some(Element { browser: self, path: format!("/element/{id}") })
        })
        .await
    }

    /// Waits until the main heading is this.
    pub async fn heading(&self, text: &str) {
        eventually(&format!("the heading is {text:?}"), async || {
            let value = json!({"using": "css selector", "value": "h1"});
            let found = self.try_post("/element", value).await.ok()?;
            let path = format!("{}/element/{}/text", self.session, found[ELEMENT].as_str()?);
            let heading = self.call(self.http.get(path)).await.ok()?;
            (heading == text).then_some(())
        })
        .await;
    }

    /// Runs a script in the page.
    pub async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({"script": script, "args": []})).await
    }

    /// Presses keys one after the other, wherever the focus is.
    pub async fn press(&self, keys: &str) {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
            })
            .collect();
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        self.post("/actions", actions).await;
    }

    /// The id or the text of what has the focus.
    pub async fn focus(&self) -> String {
        let focus = self.run("const e = document.activeElement; return e.id || e.textContent.trim();").await;
        focus.as_str().expect("a text").to_owned()
    }

    /// Fails the test when the page wrote errors to the console.
    pub async fn no_errors(&self) {
        let entries = self.post("/se/log", json!({"type": "browser"})).await;
        let errors: Vec<&Value> =
            entries.as_array().expect("a list").iter().filter(|entry| entry["level"] == "SEVERE").collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

impl Element<'_> {
    /// Clicks on it.
    pub async fn click(&self) {
        self.browser.post(&format!("{}/click", self.path), json!({})).await;
    }

    /// Types into it.
    pub async fn enter(&self, text: &str) {
        self.browser.post(&format!("{}/value", self.path), json!({"text": text})).await;
    }

    /// Chooses a file.
    pub async fn choose(&self, file: &Path) {
        assert!(fs::exists(file).expect("a path"), "{}", file.display());
        self.enter(file.to_str().expect("paths of tests are UTF-8")).await;
    }

    /// The text that is seen.
    pub async fn text(&self) -> String {
        let text = self.browser.get(&format!("{}/text", self.path)).await;
        text.as_str().expect("a text").to_owned()
    }

    /// A property, such as `value` or `outerHTML`.
    pub async fn property(&self, name: &str) -> String {
        let value = self.browser.get(&format!("{}/property/{name}", self.path)).await;
        value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
    }
}
