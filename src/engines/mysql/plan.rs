//! What a restore was asked for, checked.

use std::time::Duration;

use serde_json::Value;

use crate::{
    domain::{
        database::Settings,
        fields::SettingsExt,
        restore::{RestoreContent, RestoreMode, RestorePlan},
    },
    error::{Error, Result},
};

/// The engine's own restore options.
#[derive(Debug, Clone)]
pub struct Options {
    pub stop_on_error: bool,
    pub without_definers: bool,
    /// Which database of a dump of several.
    pub from_database: Option<String>,
    pub gtid: bool,
    pub analyze: bool,
    /// Connections that count rows.
    pub jobs: usize,
    pub lock_timeout: Option<Duration>,
    pub stall: Option<Duration>,
}

impl Options {
    pub fn of(plan: &RestorePlan) -> Self {
        let options = &plan.engine;
        Self {
            stop_on_error: options.get("stopOnError").and_then(Value::as_bool) != Some(false),
            without_definers: options.text("definers") == Some("drop"),
            from_database: options.text("fromDatabase").filter(|name| !name.is_empty()).map(str::to_owned),
            gtid: options.flag("gtid"),
            analyze: options.flag("analyze"),
            jobs: options.integer("jobs").and_then(|jobs| usize::try_from(jobs).ok()).unwrap_or(2).max(1),
            lock_timeout: seconds(options, "lockTimeoutSeconds"),
            stall: seconds(options, "stallTimeoutSeconds"),
        }
    }
}

/// A timeout option; `None` when it is 0 or absent.
fn seconds(options: &Settings, name: &str) -> Option<Duration> {
    options.integer(name).and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

/// Refuses plans that make no sense.
pub fn check_plan(plan: &RestorePlan) -> Result<()> {
    let wrong = |what: &str| Err(Error::validation(what).hint("use the mode append, or restore everything"));
    match (plan.mode, plan.content) {
        (RestoreMode::New | RestoreMode::Drop, RestoreContent::Data) => {
            wrong("rows alone cannot be restored into a database without tables")
        }
        (RestoreMode::Clean, RestoreContent::Data) => wrong("rows alone cannot be restored in clean mode, which drops the tables"),
        _ => Ok(()),
    }
}
