//! Configuration: environment and optional config.json, read once, every problem listed at once.
//!
//! Environment wins over config.json, which wins over the defaults. An empty variable counts as absent, as compose
//! files write them. Secrets can come from a file: `ENCRYPTION_KEY_FILE=/run/secrets/key`.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use chrono_tz::Tz;
use url::Url;

use crate::{
    domain::secret::Secret,
    error::{Error, Result},
};
use read::Reader;
pub use settings::{Setting, describe, table};

mod parse;
mod read;
mod settings;

/// How people prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    Password,
    /// Whoever reaches the port is an administrator: for a trusted network only.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// The whole configuration, checked. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Config {
    /// At least 32 characters. Commands that read no sealed thing work without it; see [`Config::require_encryption_key`].
    pub encryption_key: Option<Secret>,
    pub hostname: String,
    pub port: u16,
    pub base_url: Option<Url>,
    pub auth_mode: AuthMode,
    /// The folder that `database_path` is in: the lock and the scratch folders are here too.
    pub data_dir: PathBuf,
    pub database_path: PathBuf,
    pub backup_storage_path: PathBuf,
    pub pg_bin_dirs: Vec<PathBuf>,
    pub mysql_bin_dirs: Vec<PathBuf>,
    /// Where the commands of hooks are; without it there are none.
    pub hooks_dir: Option<PathBuf>,
    pub max_concurrent_backups: usize,
    pub min_workers: usize,
    /// At least `min_workers`.
    pub max_workers: usize,
    pub max_backup_retention_days: u32,
    pub job_attempts: u32,
    pub retry_base_seconds: u64,
    pub stall_timeout_seconds: u64,
    pub shutdown_grace_seconds: u64,
    pub max_upload_bytes: u64,
    /// The most that an upload may decompress to.
    pub max_plain_bytes: u64,
    pub session_idle_hours: u32,
    pub session_max_hours: u32,
    pub tz: Tz,
    pub metrics_token: Option<Secret>,
    pub log_level: String,
    pub log_format: LogFormat,
    pub auto_discover: bool,
    pub s3_region: Option<String>,
    pub s3_bucket: Option<String>,
    pub s3_access_key_id: Option<Secret>,
    pub s3_secret_access_key: Option<Secret>,
    pub s3_endpoint: Option<Url>,
}

impl Config {
    /// Reads the process's environment and the config.json that goes with it.
    pub fn load() -> Result<Self> {
        let cwd = std::env::current_dir().map_err(|cause| Error::validation("the current directory cannot be told").source(cause))?;
        Self::from_vars(readable(std::env::vars_os())?, &cwd)
    }

    /// Reads these variables; relative paths start at `cwd`. Errors list every problem in `fields`, by variable.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>, cwd: &Path) -> Result<Self> {
        let mut reader = Reader::new(vars, cwd);
        let path = |text: &str| Ok(cwd.join(text));
        let database_path = reader.value("DATABASE_PATH", path);
        let max_concurrent_backups = reader.value("MAX_CONCURRENT_BACKUPS", |text| parse::number(text, 1, 64)) as usize;
        let (min_workers, max_workers) = workers(&mut reader, max_concurrent_backups);
        let config = Self {
            encryption_key: reader.optional("ENCRYPTION_KEY", parse::encryption_key),
            hostname: reader.value("HOSTNAME", parse::text),
            port: reader.value("PORT", |text| parse::number(text, 1, u64::from(u16::MAX))) as u16,
            base_url: reader.optional("BASE_URL", parse::url),
            auth_mode: reader.value("AUTH_MODE", |text| parse::choice(text, &[("password", AuthMode::Password), ("none", AuthMode::None)])),
            data_dir: database_path.parent().unwrap_or(cwd).to_owned(),
            database_path,
            backup_storage_path: reader.value("BACKUP_STORAGE_PATH", path),
            mysql_bin_dirs: reader.value("MYSQL_BIN_DIRS", |text| Ok(parse::folders(text, cwd))),
            pg_bin_dirs: reader.value("PG_BIN_DIRS", |text| Ok(parse::folders(text, cwd))),
            max_concurrent_backups,
            min_workers,
            max_workers,
            hooks_dir: reader.optional("HOOKS_DIR", path),
            max_backup_retention_days: reader.value("MAX_BACKUP_RETENTION_DAYS", |text| parse::number(text, 1, 36_500)) as u32,
            job_attempts: reader.value("JOB_ATTEMPTS", |text| parse::number(text, 1, 20)) as u32,
            retry_base_seconds: reader.value("RETRY_BASE_SECONDS", |text| parse::number(text, 0, 3600)),
            stall_timeout_seconds: reader.value("STALL_TIMEOUT_SECONDS", |text| parse::number(text, 1, 7 * 24 * 3600)),
            shutdown_grace_seconds: reader.value("SHUTDOWN_GRACE_SECONDS", |text| parse::number(text, 0, 3600)),
            max_upload_bytes: reader.value("MAX_UPLOAD_BYTES", parse::bytes),
            max_plain_bytes: reader.value("MAX_PLAIN_BYTES", parse::bytes),
            session_idle_hours: reader.value("SESSION_IDLE_HOURS", |text| parse::number(text, 1, 8760)) as u32,
            session_max_hours: reader.value("SESSION_MAX_HOURS", |text| parse::number(text, 1, 8760)) as u32,
            tz: reader.value("TZ", parse::zone),
            metrics_token: reader.optional("METRICS_TOKEN", parse::metrics_token),
            log_level: reader.value("LOG_LEVEL", parse::log_level),
            log_format: reader.value("LOG_FORMAT", |text| parse::choice(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)])),
            auto_discover: reader.value("AUTO_DISCOVER", parse::flag),
            s3_region: reader.optional("S3_REGION", parse::text),
            s3_bucket: reader.optional("S3_BUCKET", parse::text),
            s3_access_key_id: reader.optional("S3_ACCESS_KEY_ID", |text| Ok(Secret::new(text))),
            s3_secret_access_key: reader.optional("S3_SECRET_ACCESS_KEY", |text| Ok(Secret::new(text))),
            s3_endpoint: reader.optional("S3_ENDPOINT", parse::url),
        };
        reader.finish().map(|()| config)
    }

    /// Folders that are searched for client programs first.
    pub fn tool_dirs(&self) -> Vec<PathBuf> {
        [&self.pg_bin_dirs[..], &self.mysql_bin_dirs].concat()
    }

    /// The key that seals secrets and backups. Errors with how to make one.
    pub fn require_encryption_key(&self) -> Result<&Secret> {
        self.encryption_key.as_ref().ok_or_else(|| {
            Error::validation("ENCRYPTION_KEY is not set")
                .hint("make one with `openssl rand -base64 48`, keep it somewhere safe (without it no encrypted backup opens), and set it")
        })
    }
}

/// The fewest and the most workers. Without MAX_WORKERS there may be one more than backups at the same time, so that a
/// restore or a verification never waits behind backups only.
fn workers(reader: &mut Reader, backups: usize) -> (usize, usize) {
    let min = reader.value("MIN_WORKERS", |text| parse::number(text, 1, 65)) as usize;
    let max = reader.optional("MAX_WORKERS", |text| parse::number(text, 1, 65)).map(|most| most as usize);
    if max.is_some_and(|max| max < min) {
        reader.problem("MAX_WORKERS", format!("must not be below MIN_WORKERS, which is {min}"));
    }
    (min, max.unwrap_or(backups + 1).max(min))
}

/// The variables as text. One that is no UTF-8 is an error when it is ours, and of no interest otherwise.
fn readable(vars: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<(String, String)>> {
    let own_name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut texts = Vec::new();
    let mut problems = Vec::new();
    for (name, value) in vars {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            // Container engines set HOSTNAME to the container's own name, which is not meant as an address to listen on.
            Ok(value) if name == "HOSTNAME" && value == own_name.trim() => {}
            Ok(value) => texts.push((name, value)),
            Err(_) if settings::is_known(&name) => problems.push((name, "is not UTF-8 text".to_owned())),
            Err(_) => {}
        }
    }
    if problems.is_empty() { Ok(texts) } else { Err(Error::validation("the configuration is not valid").fields(problems)) }
}
