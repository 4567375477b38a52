//! What a long operation is given: how it hears of a cancel, where its log and progress go, where it may spool.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{database::Settings, events::Progress, job::LogLevel};
use crate::error::{Error, Result};

/// Receives the log and progress of an operation; called from any thread, must not block for long.
pub trait Observer: Send + Sync {
    fn log(&self, level: LogLevel, message: &str);
    fn progress(&self, progress: &Progress);
}

/// An observer that keeps nothing.
pub struct Silent;

impl Observer for Silent {
    fn log(&self, _: LogLevel, _: &str) {}
    fn progress(&self, _: &Progress) {}
}

/// What the child processes of one operation may take of the machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ChildLimits {
    /// Niceness, 0 to 19: larger gives way to others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nice: Option<u8>,
    /// True gives way to everything else that reads or writes disks (the idle class of ionice).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_io: Option<bool>,
    /// Memory of all children together, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Share of one processor, percent: 150 is one and a half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<u32>,
}

/// The surroundings of one operation.
#[derive(Clone)]
pub struct Run {
    pub cancel: CancellationToken,
    pub observer: Arc<dyn Observer>,
    /// A private folder (0700) for temporary files; the caller removes it afterwards, whatever happens.
    pub scratch: PathBuf,
    /// Folders searched for client tools before the usual places (PG_BIN_DIRS, MYSQL_BIN_DIRS).
    pub tool_dirs: Vec<PathBuf>,
    pub learned: Learned,
    pub limits: ChildLimits,
}

/// Connection settings that were empty and are known now, such as the key of an SSH server: by field, to be kept with
/// the database's settings whether the operation ends well or not. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Learned(Arc<Mutex<Settings>>);

impl Learned {
    pub fn tell(&self, field: &'static str, value: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(field.to_owned(), value.into());
    }

    /// What was told so far.
    pub fn settings(&self) -> Settings {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Run {
    pub fn debug(&self, message: impl AsRef<str>) {
        self.observer.log(LogLevel::Debug, message.as_ref());
    }

    pub fn info(&self, message: impl AsRef<str>) {
        self.observer.log(LogLevel::Info, message.as_ref());
    }

    pub fn warn(&self, message: impl AsRef<str>) {
        self.observer.log(LogLevel::Warn, message.as_ref());
    }

    pub fn error(&self, message: impl AsRef<str>) {
        self.observer.log(LogLevel::Error, message.as_ref());
    }

    pub fn progress(&self, progress: &Progress) {
        self.observer.progress(progress);
    }

    /// Errors with `Cancelled` once a cancel was asked for.
    pub fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }

    /// Runs `work` until it ends or a cancel is asked for.
    pub async fn until_cancelled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Error::cancelled()),
            done = work => done,
        }
    }
}
