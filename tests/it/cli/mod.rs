//! The commands that work alone, run as a person or a script runs them: the real binary, real files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

mod configuration;
mod damage;
mod demo;
mod diff;
mod partial;
mod round_trip;
mod schedule;
mod server;

pub const KEY: &str = "a test passphrase of more than 32 characters";

/// What a command said and how it ended.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    pub fn json(self) -> Value {
        let said = self.ok();
        serde_json::from_str(&said.out).unwrap_or_else(|cause| panic!("{cause} in {}", said.out))
    }

    pub fn failed(self, code: i32, words: &str) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.out, self.err);
        assert!(format!("{}{}", self.out, self.err).contains(words), "'{words}' is not in: {}{}", self.out, self.err);
        self
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("commands print UTF-8");
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// A folder to work in, and the binary with only the environment given here.
pub struct Place {
    pub folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dbsnap"));
        command.args(args).current_dir(self.folder.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    /// Runs with the test's key.
    pub fn run(&self, args: &[&str]) -> Said {
        self.command(args).env("ENCRYPTION_KEY", KEY).output().unwrap().into()
    }

    /// Makes a SQLite file with two tables: 1000 notes and 3 odd ones.
    pub fn notes(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT, mood REAL, raw BLOB);
                 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
                 INSERT INTO notes SELECT i, 'note number ' || i, i / 7.0, randomblob(64) FROM n;
                 CREATE TABLE \"odd 🦉 \"\"names\"\"\" (a TEXT PRIMARY KEY) WITHOUT ROWID;
                 INSERT INTO \"odd 🦉 \"\"names\"\"\" VALUES (''), ('NULL'), ('x' || char(10) || 'y');",
            )
            .unwrap();
        path
    }

    /// Backs up `file` into the folder `to` and returns the manifest's path.
    pub fn back_up(&self, file: &Path, to: &str, more: &[&str]) -> PathBuf {
        let (url, to) = (url(file), self.path(to).display().to_string());
        let mut args = vec!["backup", "--url", &url, "--to", &to, "--json"];
        args.extend(more);
        let said = self.run(&args).json();
        PathBuf::from(said["manifestPath"].as_str().unwrap())
    }
}

pub fn url(file: &Path) -> String {
    format!("sqlite://{}", file.display())
}

/// Everything in a SQLite file, as text that can be compared.
pub fn contents(file: &Path) -> Vec<String> {
    let connection = rusqlite::Connection::open(file).unwrap();
    let mut statement = connection.prepare("SELECT quote(id) || quote(body) || quote(mood) || quote(raw) FROM notes UNION ALL SELECT quote(a) FROM \"odd 🦉 \"\"names\"\"\"").unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    let mut rows: Vec<String> = rows.map(Result::unwrap).collect();
    rows.sort();
    rows
}

/// The artifact that a manifest lists first.
pub fn artifact(manifest: &Path) -> PathBuf {
    let json: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    manifest.with_file_name(json["artifacts"][0]["file"].as_str().unwrap())
}
