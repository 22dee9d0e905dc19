//! Runs the cases of a folder.

use std::{collections::BTreeMap, panic::AssertUnwindSafe};

use futures::{FutureExt, StreamExt};
use harness::{Server, Shape, eventually};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    check,
    data::{self, Case, File, Settings, Step},
    servers,
    setup::SERVICE_TOKEN,
    template::Variables,
    wire::{Jar, Request, To, show},
};

/// Cases that run at once.
const AT_ONCE: usize = 12;

/// Runs every case of a folder, and fails with all that failed.
pub async fn folder(folder: &str, shape: Shape) {
    let files = data::load(folder);
    let chosen = std::env::var("HOLDALL_COMPAT_CASES").unwrap_or_default();
    let cases = files
        .iter()
        .flat_map(|(name, file)| file.case.iter().map(move |case| (name, file, case)))
        .filter(|(name, _, case)| format!("{name}: {}", case.name).contains(&chosen));
    let rows = cases.flat_map(|(name, file, case)| {
        let rows = if case.each.is_empty() { vec![Variables::new()] } else { case.each.clone() };
        rows.into_iter().map(move |row| (name, file, case, row))
    });
    let runs = rows.map(|(name, file, case, row)| async move {
        let server = match &case.server {
            Some(own) => servers::named(shape, &format!("{name} {own}"), &file.server[own]).await,
            None => servers::named(shape, "", &Settings::new()).await,
        };
        let ran =
            AssertUnwindSafe(Run::new(&server, case, row.clone()).steps(file, case)).catch_unwind().await;
        let ran = ran.unwrap_or_else(|_| Err("panicked, see above".to_owned()));
        ran.map_err(|wrong| format!("{name}: {}{}\n{wrong}", case.name, with(&row)))
    });
    let results: Vec<Result<(), String>> =
        futures::stream::iter(runs).buffer_unordered(AT_ONCE).collect().await;
    let ran = results.len();
    let failed: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    let rule = "─".repeat(100);
    assert!(
        failed.is_empty(),
        "{shape:?}: {} of {ran} cases failed\n{rule}\n{}\n{rule}",
        failed.len(),
        failed.join(&format!("\n{rule}\n"))
    );
}

/// The variables of a row, for messages.
fn with(row: &Variables) -> String {
    let values: Vec<String> = row.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    if values.is_empty() { String::new() } else { format!(", with {}", values.join(", ")) }
}

/// A case on its way.
struct Run<'a> {
    server: &'a Server,
    to: To,
    variables: Variables,
    jars: BTreeMap<String, Jar>,
}

impl<'a> Run<'a> {
    fn new(server: &'a Server, case: &Case, row: Variables) -> Self {
        // The end of a UUIDv7 is random.
        let unique = Uuid::now_v7().simple().to_string().split_off(20);
        let base = server.url();
        let host = base.trim_start_matches("http://");
        let given = [
            ("user", format!("u{unique}")),
            ("email", format!("{unique}@example.org")),
            ("password", format!("secret {unique}")),
            ("service_token", SERVICE_TOKEN.to_owned()),
            ("host", host.to_owned()),
            ("base", base.clone()),
            ("unique", unique),
        ];
        let mut variables: Variables =
            given.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect();
        variables.extend(case.set.clone());
        variables.extend(row);
        let to = if case.first_gateway { To::First } else { To::Next };
        Self { server, to, variables, jars: BTreeMap::new() }
    }

    async fn steps(mut self, file: &File, case: &Case) -> Result<(), String> {
        for (number, step) in file.steps(case).enumerate() {
            let rows = if step.each.is_empty() { vec![Variables::new()] } else { step.each.clone() };
            for row in rows {
                let of_row = with(&row);
                self.variables.extend(row);
                let done = self.step(step).await;
                done.map_err(|wrong| format!("step {}, {}{of_row}\n{wrong}", number + 1, step.send))?;
            }
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), String> {
        let jar = step.jar.as_ref().map(|name| self.jars.entry(name.clone()).or_default().clone());
        let request = Request::of(step, &self.variables, jar.as_ref())?;
        let replicas = self.server.shape().replicas() > 1;
        let answer = if step.eventually || (step.soon && replicas) {
            let mut last = String::new();
            // Replicas are chosen at random: so often all of them are asked.
            let times = if step.soon && replicas { 12 } else { 1 };
            let waited = eventually("the answer is as expected", async || {
                let mut good = None;
                for _ in 0..times {
                    let answer = request.send(&self.server.api(), self.to).await?;
                    if !check::wrongs(step, &answer, &self.variables).is_ok_and(|wrongs| wrongs.is_empty()) {
                        last = show(&answer);
                        return None;
                    }
                    good = Some(answer);
                }
                good
            });
            let waited = AssertUnwindSafe(waited).catch_unwind().await;
            waited.map_err(|_| format!("it never was as expected; the last answer:\n\n{last}"))?
        } else {
            let answer = request.send(&self.server.api(), self.to).await;
            answer.ok_or_else(|| format!("there is no answer to\n\n{}", request.show()))?
        };
        let wrongs = check::wrongs(step, &answer, &self.variables);
        let wrongs = wrongs.and_then(|wrongs| {
            if wrongs.is_empty() {
                check::keep(step, &answer, &mut self.variables)
            } else {
                Err(wrongs.join("\n"))
            }
        });
        wrongs.map_err(|wrongs| format!("{wrongs}\n\n{}\n\n{}", request.show(), show(&answer)))?;
        if let Some(name) = &step.jar {
            let jar = self.jars.entry(name.clone()).or_default();
            for (name, value) in check::cookies(&answer) {
                if value.is_empty() {
                    jar.remove(&name);
                } else {
                    jar.insert(name, value);
                }
            }
        }
        Ok(())
    }
}
