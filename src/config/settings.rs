//! Every setting as data: what reads the configuration and what documents it.

use std::fmt::Write;

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The environment variable. In config.json it is written in camel case: `DATABASE_PATH` is `databasePath`.
    pub name: &'static str,
    /// `""` means none.
    pub default: &'static str,
    pub what: &'static str,
    /// A secret may also come from the file that `<name>_FILE` names.
    pub secret: bool,
}

const fn setting(name: &'static str, default: &'static str, what: &'static str) -> Setting {
    Setting { name, default, what, secret: false }
}

const fn secret(name: &'static str, what: &'static str) -> Setting {
    Setting { name, default: "", what, secret: true }
}

const SETTINGS: &[Setting] = &[
    secret(
        "ENCRYPTION_KEY",
        "Passphrase, 32 characters or more, that seals stored passwords and encrypts backups. Needed by `serve`. Make one with `openssl rand -base64 48`, and keep a copy elsewhere: without it no encrypted backup opens",
    ),
    setting("HOSTNAME", "0.0.0.0", "Address to listen on"),
    setting("PORT", "3000", "Port to listen on"),
    setting("BASE_URL", "", "The URL people use, such as `https://dbsnap.example.org`; with https, cookies are marked Secure"),
    setting(
        "AUTH_MODE",
        "password",
        "`password`, or `none` on a trusted network: whoever reaches the port by an address, a name without dots, HOSTNAME or the name in BASE_URL is then an administrator; other names are refused",
    ),
    setting("DATABASE_PATH", "./data/dbsnap.db", "The catalogue: configuration and history. Its folder is the data directory"),
    setting("BACKUP_STORAGE_PATH", "./data/backups", "Folder of the local store"),
    setting("MYSQL_BIN_DIRS", "", "Folders with MySQL and MariaDB client programs, `:`-separated, searched before the usual places"),
    setting("PG_BIN_DIRS", "", "Folders with PostgreSQL client programs, `:`-separated, searched before the usual places"),
    setting("HOOKS_DIR", "", "Folder with the programs that schedules may run before and after backups; without it commands are refused"),
    setting("MAX_CONCURRENT_BACKUPS", "3", "Backups that run at the same time, 1 to 64"),
    setting("MIN_WORKERS", "1", "Workers that always look at the queue, 1 to 65"),
    setting(
        "MAX_WORKERS",
        "",
        "The most workers, which the pool grows to while jobs wait, 1 to 65. Without it one more than MAX_CONCURRENT_BACKUPS, so that a restore never waits behind backups only",
    ),
    setting(
        "MAX_BACKUP_RETENTION_DAYS",
        "365",
        "Backups older than so many days are deleted whatever their retention policy says, except pinned ones and the last good one of each database",
    ),
    setting("JOB_ATTEMPTS", "3", "How often a job is tried when it fails for a reason that may pass, or is interrupted, 1 to 20"),
    setting("RETRY_BASE_SECONDS", "30", "Wait before the second attempt, seconds; it doubles with each attempt, up to one hour"),
    setting("STALL_TIMEOUT_SECONDS", "1800", "A job that makes no progress for so long is ended, seconds"),
    setting("SHUTDOWN_GRACE_SECONDS", "20", "How long running jobs may go on after the process was asked to stop, seconds"),
    setting("MAX_UPLOAD_BYTES", "50G", "The largest dump that can be uploaded; `K`, `M`, `G`, `T` multiply by 1024"),
    setting("MAX_PLAIN_BYTES", "1T", "The most that an uploaded dump may decompress to"),
    setting("SESSION_IDLE_HOURS", "24", "A browser session ends when it is not used for so long, hours"),
    setting("SESSION_MAX_HOURS", "168", "A browser session ends after so long, hours, used or not"),
    setting("TZ", "UTC", "Time zone of the times that pages show, such as `Europe/Berlin`"),
    secret(
        "METRICS_TOKEN",
        "Lets a monitoring system read `/metrics` with `Authorization: Bearer <token>`, 16 characters or more. Without it `/metrics` takes an API key",
    ),
    setting("LOG_LEVEL", "info", "`error`, `warn`, `info`, `debug` or `trace`, also per part: `info,dbsnap::jobs=debug`"),
    setting("LOG_FORMAT", "text", "`text` or `json`"),
    setting("AUTO_DISCOVER", "false", "Look for databases in Docker containers. Without effect until discovery comes"),
    setting("S3_REGION", "", "Region of the S3 store. The S3 settings are without effect until that store comes"),
    setting("S3_BUCKET", "", "Bucket of the S3 store"),
    secret("S3_ACCESS_KEY_ID", "Access key of the S3 store"),
    secret("S3_SECRET_ACCESS_KEY", "Secret key of the S3 store"),
    setting("S3_ENDPOINT", "", "URL of an S3 service other than AWS"),
];

/// Every setting, in the order of the documentation.
pub fn describe() -> &'static [Setting] {
    SETTINGS
}

/// The table in docs/configuration.md.
pub fn table() -> String {
    let mut table = String::from("| variable | default | what it is |\n|---|---|---|\n");
    for Setting { name, default, what, secret } in SETTINGS {
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let file = if *secret { format!("; or `{name}_FILE`, a file that holds it") } else { String::new() };
        // Writing into a String cannot fail.
        let _ = writeln!(table, "| `{name}` | {default} | {what}{file} |");
    }
    table
}

/// True for every variable that is read, `_FILE` forms and `CONFIG_PATH` included.
pub(super) fn is_known(name: &str) -> bool {
    let base = name.strip_suffix("_FILE");
    name == "CONFIG_PATH" || SETTINGS.iter().any(|setting| setting.name == name || setting.secret && Some(setting.name) == base)
}

impl Setting {
    /// The key in config.json.
    pub fn key(&self) -> String {
        let mut key = String::new();
        for (n, word) in self.name.split('_').enumerate() {
            let lower = word.to_lowercase();
            match (n, lower.get(..1)) {
                (1.., Some(initial)) => key.push_str(&(initial.to_uppercase() + &lower[1..])),
                _ => key.push_str(&lower),
            }
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_the_file_are_the_variables_in_camel_case() {
        let key = |name: &str| SETTINGS.iter().find(|setting| setting.name == name).unwrap().key();
        assert_eq!([key("PORT"), key("S3_ACCESS_KEY_ID"), key("PG_BIN_DIRS")], ["port", "s3AccessKeyId", "pgBinDirs"]);
    }
}
