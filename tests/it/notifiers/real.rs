//! Real jobs on real files in simulated time: what they do is done, and what is told of it arrives at the sink.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use dbsnap::{
    domain::{
        backup::Backup,
        ids::{BackupId, DatabaseId},
        job::JobStatus,
        permissions::Actor,
        run::{Run, Silent},
        time::Moment,
    },
    services::{
        self,
        backup::{self, BackupRequest},
        databases::{self, DatabaseInput},
        queue::{self, Lease},
    },
};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::bench::Bench;

impl Bench {
    /// Adds a SQLite file with one row of so many bytes. Returns its id and its file.
    pub async fn file_database(&self, name: &str, bytes: u32) -> (DatabaseId, PathBuf) {
        let path = self.path().join(format!("{name}.db"));
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE notes (id INTEGER PRIMARY KEY, body BLOB)").unwrap();
        fill(&path, bytes);
        let input: DatabaseInput = serde_json::from_value(json!({"name": name, "engine": "sqlite", "settings": {"path": path}})).unwrap();
        (databases::create(self.ctx(), &Actor::system(), input).await.unwrap().id, path)
    }

    /// Backs a database up by the product's own work, and returns what came of it.
    pub async fn back_up(&self, database: DatabaseId) -> Backup {
        let request = BackupRequest { database_id: database, options: None };
        let made = backup::start(self.ctx(), &Actor::system(), request).await.unwrap();
        self.work().await;
        self.backup_of(made.id).await
    }

    pub async fn backup_of(&self, id: BackupId) -> Backup {
        backup::get(self.ctx(), &Actor::system(), id).await.unwrap()
    }

    /// Does all jobs that are due, each in one attempt, with what follows from them. Returns how they ended, in order.
    pub async fn work(&self) -> Vec<Result<(), String>> {
        let mut outcomes = Vec::new();
        loop {
            let lease = Lease { token: uuid::Uuid::new_v4().to_string(), until: Moment::now().plus(600_000) };
            let Some((organization, job)) = queue::claim(self.ctx(), &lease).await.unwrap() else { return outcomes };
            let scratch = tempfile::tempdir().unwrap();
            let run = Run {
                cancel: Default::default(),
                observer: Arc::new(Silent),
                scratch: scratch.path().to_owned(),
                tool_dirs: self.ctx().config.tool_dirs(),
                learned: Default::default(),
                limits: Default::default(),
            };
            let outcome = services::execute(self.ctx(), organization, &job, run).await.map_err(|error| error.to_string());
            let error = outcome.as_ref().err().map(String::as_str);
            let status = if error.is_some() { JobStatus::Failed } else { JobStatus::Completed };
            if error.is_some() {
                services::settle(self.ctx(), organization, &job, status, error).await.unwrap();
            }
            let ended = queue::finish(self.ctx(), job.id, &lease, status, error).await.unwrap().expect("the lease is held");
            // Twice, as after a crash.
            services::ended(self.ctx(), organization, &ended).await.unwrap();
            services::ended(self.ctx(), organization, &ended).await.unwrap();
            queue::mark_followed_up(self.ctx(), job.id).await.unwrap();
            outcomes.push(outcome);
        }
    }

    /// What arrived of this event since the last look.
    pub async fn told_of(&self, event: &str) -> Vec<Value> {
        self.told().await.into_iter().filter(|notice| notice["event"] == event).collect()
    }
}

/// Makes the file's one row so large, and the file no larger than it needs.
pub fn fill(path: &Path, bytes: u32) {
    let db = Connection::open(path).unwrap();
    db.execute("INSERT OR REPLACE INTO notes VALUES (1, zeroblob(?1))", [bytes]).unwrap();
    db.execute_batch("VACUUM").unwrap();
}

/// Turns one bit of a file around, in its middle; done twice, it is as it was.
pub fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}
