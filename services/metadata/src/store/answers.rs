//! Answers to requests that may come again.

use std::collections::HashMap;

use holdall_sql::{dynamic, inserts};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::row::list;
use super::work::Work;
use super::{Error, Result};
use crate::domain;
use crate::domain::idempotency::{Fingerprint, Key};

/// Answers given before, and those to be remembered.
#[derive(Default)]
pub(super) struct Answers {
    known: HashMap<Key, Remembered>,
    new: Vec<Key>,
}

/// What was asked, and the answer as JSON.
#[derive(Clone)]
struct Remembered {
    fingerprint: Vec<u8>,
    answer: String,
}

impl Answers {
    /// The answer that was given to the same request under one of the keys, if there was one.
    ///
    /// # Errors
    /// [`domain::error::Error::IdempotencyMismatch`] when a key stands for another request.
    pub(super) fn find<T: DeserializeOwned>(
        &self,
        keys: &[Key],
        fingerprint: &Fingerprint,
    ) -> Result<Option<T>> {
        let mut found = None;
        for remembered in keys.iter().filter_map(|key| self.known.get(key)) {
            if remembered.fingerprint != fingerprint.0 {
                return Err(domain::error::Error::IdempotencyMismatch.into());
            }
            found = Some(remembered);
        }
        found
            .map(|remembered| serde_json::from_str(&remembered.answer).map_err(|_| Error::Corrupt("answer")))
            .transpose()
    }

    /// Adds an answer, to be found under any of the keys.
    pub(super) fn add<T: Serialize>(
        &mut self,
        keys: &[Key],
        fingerprint: &Fingerprint,
        answer: &T,
    ) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let answer = serde_json::to_string(answer).map_err(|_| Error::Corrupt("answer"))?;
        let remembered = Remembered { fingerprint: fingerprint.0.to_vec(), answer };
        for key in keys {
            self.known.insert(key.clone(), remembered.clone());
            self.new.push(key.clone());
        }
        Ok(())
    }
}

impl Work {
    /// The answers that the account was given under some keys.
    pub(super) async fn recall<'k>(&mut self, keys: impl IntoIterator<Item = &'k Key>) -> Result<Answers> {
        let mut answers = Answers::default();
        let keys: Vec<String> = keys.into_iter().map(|key| key.as_str().to_owned()).collect();
        if keys.is_empty() {
            return Ok(answers);
        }
        let (keys, placeholders) = list(keys, 2);
        let text = format!(
            "SELECT key, fingerprint, answer FROM answers WHERE account_id = $1 AND key IN {placeholders}"
        );
        let rows = dynamic(text)
            .bind(self.home.account.to_string())
            .bind_all(keys)
            .fetch_all(self.tx().await?)
            .await?;
        for row in rows {
            let remembered = Remembered { fingerprint: row.get(1)?, answer: row.get(2)? };
            answers.known.insert(Key::stored(row.get(0)?), remembered);
        }
        Ok(answers)
    }

    /// Keeps the answers that were added.
    pub(super) fn remember(&mut self, mut answers: Answers) {
        let mut rows = Vec::with_capacity(answers.new.len());
        for key in &answers.new {
            if let Some(remembered) = answers.known.remove(key) {
                rows.push([
                    self.home.account.to_string().into(),
                    key.as_str().into(),
                    remembered.fingerprint.into(),
                    remembered.answer.into(),
                    self.now.into(),
                ]);
            }
        }
        self.write(inserts(
            "INSERT INTO answers (account_id, key, fingerprint, answer, created_at)",
            rows,
            "",
        ));
    }
}
