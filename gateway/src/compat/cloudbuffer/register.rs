//! `/account/register`, also spelt `/account/registet`.

use askama::Template;
use axum::extract::{Request, State};
use axum::response::Response;
use holdall_proto::auth::v1::{Account, RegisterRequest};
use http::{HeaderMap, StatusCode};

use super::login::{sign_in, welcome};
use super::{Result, form};
use crate::App;
use crate::error::{Code, Error};
use crate::identity::ClientAddress;
use crate::ops::accounts;
use crate::transfer::fields::Fields;
use crate::web::{Message, Nav, cookie, html, html_with_form, origin};

const USERNAME_CHARACTERS: usize = 32;
const PASSWORD_CHARACTERS: usize = 64;

#[derive(Template)]
#[template(path = "register.html")]
struct Register<'a> {
    nav: Nav,
    username: &'a str,
    email: &'a str,
    /// What was wrong, a sentence each.
    problems: &'a [String],
}

impl Register<'_> {
    fn answer(&self, status: StatusCode) -> Response {
        html_with_form(status, self)
    }
}

/// The form.
pub async fn page(State(app): State<App>, headers: HeaderMap) -> Result {
    let caller = cookie::caller(&app, &headers).await?;
    let nav = Nav::of(caller.as_ref(), "/account/register");
    Ok(Register { nav, username: "", email: "", problems: &[] }.answer(StatusCode::OK))
}

/// What was typed.
struct Given<'a> {
    username: &'a str,
    email: &'a str,
    password: &'a str,
    password_confirm: &'a str,
}

impl<'a> Given<'a> {
    fn of(fields: &'a Fields) -> Self {
        let field = |name| fields.get(name).unwrap_or_default();
        Self {
            username: field("username").trim(),
            email: field("email").trim(),
            password: field("password"),
            password_confirm: field("password_confirm"),
        }
    }

    /// The fields at fault, in the order of the form, each with a sentence.
    fn faults(&self) -> Vec<(&'static str, &'static str)> {
        let mut faults = Vec::new();
        if !(1..=USERNAME_CHARACTERS).contains(&self.username.chars().count()) {
            faults.push(("username", "The username must have 1 to 32 characters."));
        }
        if !is_email(self.email) {
            faults.push(("email", "The e-mail address must look like name@example.org."));
        }
        if !(1..=PASSWORD_CHARACTERS).contains(&self.password.chars().count()) {
            faults.push(("password", "The password must have at most 64 characters, and some."));
        }
        if !(1..=PASSWORD_CHARACTERS).contains(&self.password_confirm.chars().count()) {
            faults.push(("password_confirm", "The password must be typed twice."));
        }
        faults
    }
}

/// Whether the text has the form that the original asked for: more than auth does, so that typing errors are told.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    let named = domain.eq_ignore_ascii_case("localhost") || domain.contains('.');
    text.len() <= 254
        && !local.is_empty()
        && local.split('.').all(|part| !part.is_empty())
        && !local.contains(|c: char| c.is_whitespace() || c.is_control() || "@\"(),:;<>[]\\".contains(c))
        && named
        && domain.split('.').all(label)
}

/// Makes an account and signs in to it.
pub async fn submit(State(app): State<App>, client: ClientAddress, request: Request) -> Result {
    let (parts, body) = request.into_parts();
    origin::check(&app, &parts.uri, &parts.headers)?;
    let fields = form::read(&parts.headers, body).await?;
    let is_page = form::is_page(&fields);
    let given = Given::of(&fields);
    // For programs the exact text, for people sentences.
    let refuse = |text: &str, problems: &[String]| {
        let nav = Nav::of(None, "/account/register");
        let page = Register { nav, username: given.username, email: given.email, problems };
        if is_page { page.answer(StatusCode::BAD_REQUEST) } else { form::bad(text) }
    };
    let faults = given.faults();
    if !faults.is_empty() {
        let names: String = faults.iter().map(|(name, _)| *name).collect();
        let sentences: Vec<String> = faults.iter().map(|(_, sentence)| (*sentence).to_owned()).collect();
        return Ok(refuse(&names, &sentences));
    }
    if given.password != given.password_confirm {
        return Ok(refuse("", &["The two passwords differ.".to_owned()]));
    }
    if let Err(error) = register(&app, &given, &client, is_page).await {
        return match error.code {
            Code::UsernameTaken => Ok(refuse(TAKEN, &["Somebody else has this username.".to_owned()])),
            Code::EmailTaken => Ok(refuse(TAKEN, &["Somebody else has this e-mail address.".to_owned()])),
            Code::InvalidAccount | Code::InvalidField => {
                let names: String = error.fields.iter().map(|(name, _)| name.as_str()).collect();
                let sentences: Vec<String> =
                    error.fields.iter().map(|(name, rule)| format!("The {name} {rule}.")).collect();
                Ok(refuse(&names, &sentences))
            }
            _ => Err(error.into()),
        };
    }
    let signed_in = sign_in(&app, &parts.headers, client, given.username, given.password).await?;
    welcome(&app, &signed_in, is_page.then_some("/account/register-done"))
}

const TAKEN: &str = "User already exists";

/// Our own page asks for passwords as the native API does, programs for what they always could.
async fn register(
    app: &App,
    given: &Given<'_>,
    client: &ClientAddress,
    is_page: bool,
) -> Result<Account, Error> {
    let request = RegisterRequest {
        username: given.username.to_owned(),
        password: given.password.to_owned(),
        email: given.email.to_owned(),
        client_address: client.0.clone(),
        ..RegisterRequest::default()
    };
    if is_page {
        return accounts::register(&app.upstreams, request).await;
    }
    let request = RegisterRequest { min_password_length: app.compat.password_min_length, ..request };
    app.delegate()?.register(&app.upstreams, request).await
}

/// `/account/register-done`.
pub async fn done(State(app): State<App>, headers: HeaderMap) -> Result {
    let caller = cookie::caller(&app, &headers).await?;
    let text = "You are logged in. Load a file, or put something into your buffer.";
    Ok(html(
        StatusCode::OK,
        &Message { nav: Nav::of(caller.as_ref(), ""), title: "Welcome to Holdall", text },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(fields: &[(&str, &str)]) -> String {
        let fields = Fields(fields.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect());
        Given::of(&fields).faults().iter().map(|(name, _)| *name).collect()
    }

    #[test]
    fn bad_fields_are_named_in_their_order() {
        assert_eq!(faults(&[]), "usernameemailpasswordpassword_confirm");
        let (name, long) = ("ü".repeat(32), "p".repeat(65));
        let good = [
            ("username", name.as_str()),
            ("email", " bob@example.org "),
            ("password", "p"),
            ("password_confirm", "q"),
        ];
        assert_eq!(faults(&good), "");
        let mut bad = good;
        bad[0].1 = "123456789012345678901234567890123";
        bad[2].1 = &long;
        assert_eq!(faults(&bad), "usernamepassword");
        bad[1].1 = "nobody";
        bad[3].1 = "";
        assert_eq!(faults(&bad), "usernameemailpasswordpassword_confirm");
    }

    #[test]
    fn addresses_look_like_addresses() {
        for good in ["a@b.c", "first.last+tag@sub.example.org", "x@localhost", "üser@exämple.org"] {
            assert!(is_email(good), "{good}");
        }
        for bad in [
            "", "a", "@b.c", "a@", "a@b", "a b@c.d", "a@b@c.d", "a@.c", "a@c.", "a..b@c.d", "a@-b.c",
            "a@b..c",
        ] {
            assert!(!is_email(bad), "{bad}");
        }
    }
}
