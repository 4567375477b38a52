//! The one error type: what was being done, why it failed, what the reader can do, and whether trying again helps.

use std::{error::Error as StdError, fmt};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What an error is about. Each kind has one API code and one HTTP status, see [`Kind::code`] and [`Kind::status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Validation,
    NotFound,
    Unauthorized,
    Forbidden,
    Conflict,
    RateLimited,
    Database,
    Storage,
    S3,
    Backup,
    Restore,
    Cancelled,
    Internal,
}

impl Kind {
    /// (kind, API code, HTTP status): the whole table in one place.
    pub const TABLE: &'static [(Kind, &'static str, u16)] = &[
        (Kind::Validation, "VALIDATION_ERROR", 400),
        (Kind::NotFound, "NOT_FOUND", 404),
        (Kind::Unauthorized, "UNAUTHORIZED", 401),
        (Kind::Forbidden, "FORBIDDEN", 403),
        (Kind::Conflict, "CONFLICT", 409),
        (Kind::RateLimited, "RATE_LIMITED", 429),
        (Kind::Database, "DATABASE_ERROR", 502),
        (Kind::Storage, "STORAGE_ERROR", 502),
        (Kind::S3, "S3_ERROR", 502),
        (Kind::Backup, "BACKUP_ERROR", 500),
        (Kind::Restore, "RESTORE_ERROR", 500),
        (Kind::Cancelled, "CONFLICT", 409),
        (Kind::Internal, "INTERNAL_ERROR", 500),
    ];

    fn row(self) -> &'static (Kind, &'static str, u16) {
        Self::TABLE.iter().find(|row| row.0 == self).expect("every kind has a row")
    }

    /// The code that the JSON API answers, such as `VALIDATION_ERROR`.
    pub fn code(self) -> &'static str {
        self.row().1
    }

    /// The HTTP status that goes with [`Kind::code`].
    pub fn status(self) -> u16 {
        self.row().2
    }
}

/// An error as a person reads it: `context` names the thing and the cause, `hint` the next step.
pub struct Error {
    pub kind: Kind,
    pub context: String,
    pub hint: Option<String>,
    /// True when the same call may succeed later with nothing changed (a timeout, a restarted server).
    pub retryable: bool,
    /// Field name and message, for input that has several things wrong at once.
    pub fields: Vec<(String, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub fn new(kind: Kind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), hint: None, retryable: false, fields: Vec::new(), source: None }
    }

    pub fn validation(context: impl Into<String>) -> Self {
        Self::new(Kind::Validation, context)
    }

    pub fn not_found(what: impl fmt::Display) -> Self {
        Self::new(Kind::NotFound, format!("{what} does not exist"))
    }

    pub fn conflict(context: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, context)
    }

    pub fn internal(context: impl Into<String>) -> Self {
        Self::new(Kind::Internal, context)
    }

    pub fn cancelled() -> Self {
        Self::new(Kind::Cancelled, "cancelled")
    }

    /// The next step for the reader.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    pub fn source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub fn fields(mut self, fields: Vec<(String, String)>) -> Self {
        self.fields = fields;
        self
    }

    pub fn is_cancelled(&self) -> bool {
        self.kind == Kind::Cancelled
    }

    /// Puts what was being done in front: `context: cause`.
    pub fn while_doing(mut self, doing: impl fmt::Display) -> Self {
        self.context = format!("{doing}: {}", self.context);
        self
    }
}

/// Context, cause and hint in one line, as logs and the command line show it.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        let mut source = self.source.as_deref().map(|source| source as &dyn StdError);
        let mut said = self.context.clone();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !said.contains(&text) {
                write!(f, ": {text}")?;
                said.push_str(&text);
            }
            source = cause.source();
        }
        for (field, message) in &self.fields {
            write!(f, "; {field}: {message}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {self}", self.kind.code())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Adds kind and context to a foreign error.
pub trait Context<T> {
    fn context(self, kind: Kind, context: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context(self, kind: Kind, context: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::new(kind, context()).source(cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_context_cause_and_next_step() {
        let error = Error::new(Kind::Storage, "writing /backups/a")
            .source(std::io::Error::other("no space left"))
            .hint("free space or choose another store");
        assert_eq!(error.to_string(), "writing /backups/a: no space left (free space or choose another store)");
        assert_eq!((error.kind.code(), error.kind.status()), ("STORAGE_ERROR", 502));
    }
}
