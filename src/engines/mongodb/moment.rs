//! The one moment that all collections are read at: a cluster time, which every cursor is given. Replica sets and sharded
//! clusters since MongoDB 5.0 have such times; they keep the history that reading in the past needs for
//! `minSnapshotHistoryWindowInSeconds`, five minutes unless it is set.

use std::time::{Duration, Instant};

use mongodb::bson::{Document, Timestamp, doc};

use super::{
    catalogue::Collection,
    connect::Server,
    faults::{code, code_of},
    server::whole,
};
use crate::{
    domain::{run::Run, time::Moment},
    error::{Error, Kind, Result},
};

/// Wire version of MongoDB 5.0.
const SNAPSHOTS: i32 = 13;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointInTime {
    Auto,
    Require,
    Off,
}

impl PointInTime {
    pub fn from_option(text: Option<&str>) -> Self {
        match text {
            Some("require") => Self::Require,
            Some("off") => Self::Off,
            _ => Self::Auto,
        }
    }
}

/// How a dump reads.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The cluster time that every cursor reads at; `None`: each reads what there is when it comes to it.
    pub time: Option<Timestamp>,
    pub moment: Moment,
    pub since: Instant,
    /// How long the server keeps history, where it tells.
    pub window: Option<Duration>,
    /// Why there is no such time, for a backup's warnings.
    pub warning: Option<String>,
}

impl Reading {
    /// Chooses the moment. Errors when one is required and the server has none.
    pub async fn open(server: &Server, wanted: PointInTime, collections: &[Collection], run: &Run) -> Result<Self> {
        let plain = |warning: Option<String>| Self { time: None, moment: Moment::now(), since: Instant::now(), window: None, warning };
        let because = |why: String| format!("not point in time: {why}; documents written while it ran may be in it or not");
        if wanted == PointInTime::Off {
            return Ok(plain(Some(because("the option pointInTime is off".to_owned()))));
        }
        // Without data there is nothing that could differ.
        let Some(first) = collections.iter().find(|collection| collection.data().is_some()) else { return Ok(plain(None)) };
        let why = match () {
            () if server.hello.set_name.is_none() && !server.hello.mongos => Err("the server is a standalone, no replica set".to_owned()),
            () if server.hello.wire_version < SNAPSHOTS => Err("snapshot reads need MongoDB 5.0 or later".to_owned()),
            () => run.until_cancelled(snapshot_time(server, first)).await?,
        };
        match why {
            Ok(time) => {
                Ok(Self { time: Some(time), moment: Moment(i64::from(time.time) * 1000), window: window(server).await, ..plain(None) })
            }
            Err(why) if wanted == PointInTime::Require => {
                Err(Error::new(Kind::Backup, format!("one moment for all collections is required, but {why}"))
                    .hint("make the server a replica set (one member will do), or set pointInTime to auto"))
            }
            Err(why) => Ok(plain(Some(because(why)))),
        }
    }

    /// What a cursor's command needs to read at this moment.
    pub fn concern(&self) -> Option<Document> {
        self.time.map(|time| doc! { "level": "snapshot", "atClusterTime": time })
    }

    /// The error for a moment that the server has forgotten: `done` of `total` bytes were read; `None` when the cause is
    /// another.
    pub fn forgotten(&self, cause: &mongodb::error::Error, done: u64, total: Option<u64>) -> Option<Error> {
        let forgotten = matches!(code_of(cause), Some(code::SNAPSHOT_TOO_OLD | code::SNAPSHOT_UNAVAILABLE));
        if self.time.is_none() || !forgotten {
            return None;
        }
        let took = self.since.elapsed();
        let window = self.window.map_or_else(String::new, |window| format!(", which is {} s there", window.as_secs()));
        let needs = match total.filter(|total| done > 0 && *total > done) {
            Some(total) => took.mul_f64(total as f64 / done as f64).as_secs().max(took.as_secs()) * 3 / 2 + 60,
            None => took.as_secs() * 2 + 60,
        };
        Some(
            Error::new(
                Kind::Backup,
                format!("after {} s the server no longer keeps the moment that the backup reads at (minSnapshotHistoryWindowInSeconds{window})", took.as_secs()),
            )
            .hint(format!(
                "on every member: db.adminCommand({{setParameter: 1, minSnapshotHistoryWindowInSeconds: {needs}}}); or set the option pointInTime to off"
            )),
        )
    }
}

/// The time that the server reads at now, or why it does not read at one.
async fn snapshot_time(server: &Server, collection: &Collection) -> Result<Result<Timestamp, String>> {
    let data = collection.data().unwrap_or_default();
    let asking = doc! {
        "find": data, "filter": {}, "projection": { "_id": 1 }, "limit": 1, "singleBatch": true, "readConcern": { "level": "snapshot" },
    };
    match server.command(&collection.db, asking).await {
        Ok(answer) => {
            let time = answer.get_document("cursor").and_then(|cursor| cursor.get_timestamp("atClusterTime"));
            Ok(time.map_err(|_| "the server does not say which moment it reads at".to_owned()))
        }
        Err(cause) if matches!(code_of(&cause), Some(code::INVALID_OPTIONS | code::NOT_A_REPLICA_SET | code::SNAPSHOT_UNAVAILABLE)) => {
            Ok(Err(server.failed("the server refuses to read at one", &cause).context))
        }
        Err(cause) => Err(server.failed(format!("opening a moment of {collection}"), &cause)),
    }
}

/// How long the server keeps history; `None` where the account may not ask.
async fn window(server: &Server) -> Option<Duration> {
    let answer = server.command("admin", doc! { "getParameter": 1, "minSnapshotHistoryWindowInSeconds": 1 }).await.ok()?;
    whole(&answer, "minSnapshotHistoryWindowInSeconds").map(Duration::from_secs)
}
