//! What became of the documents of a collection: none is lost without being told.

use mongodb::{
    bson::{Bson, RawDocumentBuf, doc},
    error::IndexedWriteError,
};

use super::extjson;
use crate::error::{Error, Kind};

/// Documents that are named; the others are counted.
const NAMED: usize = 5;
/// Most characters of a server's words that are repeated.
const WORDS: usize = 300;
const DUPLICATE_KEY: i32 = 11000;
const INVALID: i32 = 121;

/// Documents of one collection.
#[derive(Debug, Clone)]
pub struct Tally {
    label: String,
    pub inserted: u64,
    duplicates: u64,
    invalid: u64,
    others: u64,
    /// `_id`s of the first that were refused.
    named: Vec<String>,
    /// The server's words for the first.
    words: Option<String>,
}

impl Tally {
    pub fn new(label: &str) -> Self {
        Self { label: label.to_owned(), inserted: 0, duplicates: 0, invalid: 0, others: 0, named: Vec::new(), words: None }
    }

    pub fn refused(&self) -> u64 {
        self.duplicates + self.invalid + self.others
    }

    pub fn add(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.duplicates += other.duplicates;
        self.invalid += other.invalid;
        self.others += other.others;
        self.named.extend(other.named);
        self.named.truncate(NAMED);
        self.words = self.words.take().or(other.words);
    }

    /// Counts a document that the server refused.
    pub fn refuse(&mut self, error: &IndexedWriteError, documents: &[RawDocumentBuf]) {
        match error.code {
            DUPLICATE_KEY => self.duplicates += 1,
            INVALID => self.invalid += 1,
            _ => self.others += 1,
        }
        if self.named.len() < NAMED
            && let Some(id) = documents.get(error.index).and_then(|document| document.get("_id").ok().flatten())
            && let Ok(id) = Bson::try_from(id)
        {
            self.named.push(extjson::write(&doc! { "_id": id }).chars().take(WORDS).collect());
        }
        self.words.get_or_insert_with(|| error.message.chars().take(WORDS).collect());
    }

    /// What was refused, or `None`.
    pub fn refusals(&self) -> Option<String> {
        let kinds = [(self.duplicates, "for a duplicate key"), (self.invalid, "by the validator"), (self.others, "for another reason")];
        let kinds: Vec<_> = kinds.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}")).collect();
        (!kinds.is_empty()).then(|| {
            let more = if self.refused() > self.named.len() as u64 { ", ..." } else { "" };
            let words = self.words.as_deref().unwrap_or_default();
            format!(
                "{}: {} of {} documents refused ({}); {}{more}; the server said of the first: {words}",
                self.label,
                self.refused(),
                self.inserted + self.refused(),
                kinds.join(", "),
                self.named.join(", "),
            )
        })
    }

    /// The error that names everything refused so far.
    pub fn error(tallies: &[Self]) -> Error {
        let refusals: Vec<_> = tallies.iter().filter_map(Self::refusals).collect();
        Error::new(Kind::Restore, refusals.join("; "))
            .hint("restore into another database or replace this one, or turn exitOnError off to go past such documents")
    }
}
