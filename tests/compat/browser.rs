//! What people do on the pages, in a real browser: with scripts, without them, and with the keyboard alone.

mod setup;
mod webdriver;

use std::{fs, path::PathBuf};

use harness::{Api, Content, Server, Shape, read_qr};
use http::Method;
use setup::options;
use tempfile::TempDir;
use uuid::Uuid;
use webdriver::{Browser, with_browsers};

const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';

/// Somebody in front of a browser.
struct Person {
    base: String,
    username: String,
    password: String,
    folder: TempDir,
}

impl Person {
    fn new(server: &Server) -> Self {
        let unique = Uuid::now_v7().simple().to_string().split_off(20);
        Self {
            base: server.url(),
            username: format!("browser-{unique}"),
            password: format!("correct horse {unique}"),
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    fn file(&self, name: &str, content: &Content) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content.bytes()).expect("the temporary folder takes a file");
        path
    }

    async fn open(&self, browser: &Browser, path: &str) {
        browser.open(&format!("{}{path}", self.base)).await;
    }

    async fn register(&self, browser: &Browser) {
        self.open(browser, "/account/register").await;
        browser.find("#username").await.enter(&self.username).await;
        browser.find("#email").await.enter(&format!("{}@example.org", self.username)).await;
        browser.find("#password").await.enter(&self.password).await;
        browser.find("#password_confirm").await.enter(&self.password).await;
        browser.find("form.card button").await.click().await;
        browser.find("nav a[href='/account/logout']").await;
    }

    async fn log_in(&self, browser: &Browser) {
        self.open(browser, "/account/login").await;
        browser.find("#username").await.enter(&self.username).await;
        browser.find("#password").await.enter(&self.password).await;
        browser.find("form.card button").await.click().await;
        browser.find("nav a[href='/account/logout']").await;
    }

    async fn log_out(&self, browser: &Browser) {
        browser.find("nav a[href='/account/logout']").await.click().await;
        browser.heading("Log out?").await;
        browser.find("form.card button").await.click().await;
        browser.heading("You are logged out").await;
        // Also for those who try.
        self.open(browser, "/account/profile").await;
        browser.heading("Log in").await;
    }
}

/// What another device gets that follows the link and the code on the page.
async fn loaded(browser: &Browser, api: &Api, content: &Content) {
    browser.heading("File uploaded").await;
    let link = browser.find("#url").await.property("value").await;
    let code = browser.find("figure svg").await.property("outerHTML").await;
    assert_eq!(read_qr(&code), link);
    let path = link.strip_prefix(&api.url()).expect("a link to this server");
    let answer = api.call_at(Method::GET, path).send().await.expect(200);
    assert!(answer.body == content.bytes());
    assert!(answer.header("content-disposition").starts_with("attachment;"));
}

async fn server() -> Server {
    Server::start_with(Shape::OneProcess, options()).await
}

#[tokio::test]
async fn files_and_the_buffer() {
    let server = server().await;
    let _log = server.log_on_failure();
    let person = Person::new(&server);
    let content = Content::new("browser", 20_000_000);
    let file = person.file("holiday.bin", &content);
    with_browsers(true, async |[laptop, phone]: &[Browser; 2]| {
        person.register(laptop).await;
        person.log_out(laptop).await;
        person.log_in(laptop).await;

        laptop.find("nav a[href='/file/load']").await.click().await;
        laptop.heading("Load file").await;
        laptop.find("#file").await.choose(&file).await;
        // Noted down by the page itself: the bar is gone before anybody could ask.
        laptop
            .run(
                "window.seen = []; \
                 const bar = document.querySelector('progress'); \
                 const note = () => { if (bar.checkVisibility()) window.seen.push(bar.value) }; \
                 new MutationObserver(note).observe(bar, {attributes: true}); \
                 document.querySelector('h1').dataset.same = 'page';",
            )
            .await;
        laptop.find("form.card button").await.click().await;
        loaded(laptop, &server.api(), &content).await;
        let seen = laptop.run("return window.seen").await;
        assert!(seen.as_array().is_some_and(|values| !values.is_empty()), "no progress was shown: {seen}");

        person.log_in(phone).await;
        laptop.find("nav a[href='/account/buffer']").await.click().await;
        laptop.heading("Buffer").await;
        laptop.find("#text").await.enter("Grüße vom <b>Laptop</b>").await;
        laptop.find("form:has(#text) button").await.click().await;
        assert_eq!(laptop.find("#shown").await.property("value").await, "Grüße vom <b>Laptop</b>");
        person.open(phone, "/account/buffer").await;
        assert_eq!(phone.find("#shown").await.property("value").await, "Grüße vom <b>Laptop</b>");
        // And back, with a file.
        phone.find("#file").await.choose(&file).await;
        phone.find("form[data-upload] button").await.click().await;
        assert_eq!(phone.find("#current .name").await.text().await, "holiday.bin");
        laptop.find("[data-refresh]").await.click().await;
        assert_eq!(laptop.find("#current .name").await.text().await, "holiday.bin");
        laptop.find("a[href='/file/buffer']").await;

        person.log_out(phone).await;
        laptop.find("nav a[href='/account/profile']").await.click().await;
        laptop.heading("Profile").await;
        person.log_out(laptop).await;
        laptop.no_errors().await;
        phone.no_errors().await;
    })
    .await;
}

#[tokio::test]
async fn the_keyboard_is_enough() {
    let server = server().await;
    let _log = server.log_on_failure();
    let person = Person::new(&server);
    with_browsers(true, async |[browser]: &[Browser; 1]| {
        person.register(browser).await;
        person.log_out(browser).await;
        person.open(browser, "/account/login").await;
        // The first field has the focus, and the order is the one on the page.
        assert_eq!(browser.focus().await, "username");
        browser.press(&format!("{}{TAB}", person.username)).await;
        assert_eq!(browser.focus().await, "password");
        browser.press(&format!("wrong{TAB}")).await;
        assert_eq!(browser.focus().await, "Log in");
        let outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle").await;
        assert_ne!(outline, "none", "what has the focus is seen to have it");
        browser.press(&ENTER.to_string()).await;
        // What is wrong is said, the name is still there, and the password is asked for again.
        assert!(!browser.find("[role=alert]").await.text().await.is_empty());
        assert_eq!(browser.find("#username").await.property("value").await, person.username);
        assert_eq!(browser.focus().await, "password");
        browser.press(&format!("{}{ENTER}", person.password)).await;
        browser.find("nav a[href='/account/logout']").await;
    })
    .await;
}

#[tokio::test]
async fn scripts_are_not_needed() {
    let server = server().await;
    let _log = server.log_on_failure();
    let person = Person::new(&server);
    let content = Content::new("no scripts", 1_000_000);
    let file = person.file("plain.bin", &content);
    with_browsers(false, async |[browser]: &[Browser; 1]| {
        person.register(browser).await;
        person.log_out(browser).await;
        person.log_in(browser).await;
        person.open(browser, "/file/load").await;
        browser.find("#file").await.choose(&file).await;
        browser.find("form.card button").await.click().await;
        loaded(browser, &server.api(), &content).await;
        // The form was sent by the browser itself.
        assert!(browser.url().await.ends_with("/file/load"));
        person.open(browser, "/account/buffer").await;
        browser.find("#text").await.enter("without scripts").await;
        browser.find("form:has(#text) button").await.click().await;
        assert_eq!(browser.find("#shown").await.property("value").await, "without scripts");
        person.log_out(browser).await;
    })
    .await;
}
