//! Configuration from environment, secret files and config.json.

use std::{fs, path::Path};

use dbsnap::{
    config::{AuthMode, Config, LogFormat, describe, table},
    error::{Error, Kind, Result},
};

const KEY: &str = "an encryption key that is long enough to be one";

fn read(vars: &[(&str, &str)], cwd: &Path) -> Result<Config> {
    Config::from_vars(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())), cwd)
}

fn names(error: &Error) -> Vec<&str> {
    error.fields.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn with_nothing_set_every_setting_has_its_documented_default() {
    let folder = tempfile::tempdir().unwrap();
    let config = read(&[("PORT", ""), ("HOME", "/root")], folder.path()).unwrap();
    assert_eq!((config.port, config.hostname.as_str(), config.max_concurrent_backups), (3000, "0.0.0.0", 3));
    assert_eq!(config.database_path, folder.path().join("./data/dbsnap.db"));
    assert_eq!(config.data_dir, folder.path().join("data"));
    assert_eq!((config.auth_mode, config.log_format, config.tz), (AuthMode::Password, LogFormat::Text, chrono_tz::UTC));
    assert_eq!((config.max_upload_bytes, config.max_backup_retention_days), (50 << 30, 365));
    let missing = config.require_encryption_key().unwrap_err();
    assert!(missing.to_string().contains("openssl rand -base64 48"), "{missing}");
}

#[test]
fn every_problem_is_listed_at_once_and_no_secret_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let vars = [
        ("ENCRYPTION_KEY", "hunter2"),
        ("PORT", "70000"),
        ("AUTH_MODE", "maybe"),
        ("TZ", "Mars/Olympus"),
        ("LOG_LEVEL", "dbsnap=loud"),
        ("BASE_URL", "https://me:sesame@host"),
        ("S3_SECRET_ACCESS_KEY_FILE", "absent"),
        ("MAX_UPLOAD_BYTES", "much"),
    ];
    let error = read(&vars, folder.path()).unwrap_err();
    assert_eq!(error.kind, Kind::Validation);
    let mut expect: Vec<_> = vars.iter().map(|(name, _)| *name).collect();
    let mut got = names(&error);
    expect.sort_unstable();
    got.sort_unstable();
    assert_eq!(got, expect);
    let text = format!("{error} {error:?}");
    assert!(!text.contains("hunter2") && !text.contains("sesame"), "{text}");
    assert!(text.contains("has 7 characters and needs 32 or more"), "{text}");
}

#[test]
fn debug_output_holds_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let vars = [("ENCRYPTION_KEY", KEY), ("S3_ACCESS_KEY_ID", "AKIA-visible"), ("S3_SECRET_ACCESS_KEY", "very-secret")];
    let config = read(&vars, folder.path()).unwrap();
    let text = format!("{config:?} {config:#?}");
    for secret in [KEY, "AKIA-visible", "very-secret"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert_eq!(config.require_encryption_key().unwrap().expose(), KEY);
}

#[test]
fn a_secret_can_come_from_a_file_but_not_from_two_places() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), format!("{KEY}\n")).unwrap();
    let config = read(&[("ENCRYPTION_KEY_FILE", "key")], folder.path()).unwrap();
    assert_eq!(config.encryption_key.unwrap().expose(), KEY);

    let both = read(&[("ENCRYPTION_KEY_FILE", "key"), ("ENCRYPTION_KEY", KEY)], folder.path()).unwrap_err();
    assert_eq!(names(&both), ["ENCRYPTION_KEY"]);
    fs::write(folder.path().join("key"), "\n").unwrap();
    let empty = read(&[("ENCRYPTION_KEY_FILE", "key")], folder.path()).unwrap_err();
    assert_eq!(names(&empty), ["ENCRYPTION_KEY_FILE"]);
}

#[test]
fn the_environment_wins_over_the_file_and_unknown_keys_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    fs::write(&file, r#"{"port": 4000, "autoDiscover": true, "pgBinDirs": ["/opt/a", "/opt/b"], "databasePath": "/srv/c.db", "tz": null}"#)
        .unwrap();
    let config = read(&[("PORT", "5000")], folder.path()).unwrap();
    assert_eq!((config.port, config.auto_discover), (5000, true));
    assert_eq!(config.pg_bin_dirs, [Path::new("/opt/a"), Path::new("/opt/b")]);
    assert_eq!(config.data_dir, Path::new("/srv"));

    fs::write(&file, r#"{"prot": 4000, "port": {}, "maxConcurrentBackups": 0}"#).unwrap();
    let mut wrong = read(&[], folder.path()).unwrap_err();
    wrong.fields.sort();
    assert_eq!(names(&wrong), ["MAX_CONCURRENT_BACKUPS", "port", "prot"]);

    fs::write(&file, "{ port: ").unwrap();
    assert_eq!(names(&read(&[], folder.path()).unwrap_err()), ["config.json"]);
}

#[test]
fn a_config_file_that_is_named_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let missing = read(&[("CONFIG_PATH", "etc/dbsnap.json")], folder.path()).unwrap_err();
    assert_eq!(names(&missing), ["CONFIG_PATH"]);
    fs::create_dir(folder.path().join("etc")).unwrap();
    fs::write(folder.path().join("etc/dbsnap.json"), r#"{"logFormat": "json"}"#).unwrap();
    assert_eq!(read(&[("CONFIG_PATH", "etc/dbsnap.json")], folder.path()).unwrap().log_format, LogFormat::Json);
}

#[test]
fn the_documentation_holds_the_table_of_settings() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()));
    assert!(text.contains(&table()), "docs/configuration.md does not hold this table, which config::table() writes:\n{}", table());
    assert!(describe().len() > 20);
}
