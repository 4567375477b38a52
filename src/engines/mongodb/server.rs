//! What a server and a database on it say of themselves.

use std::time::Instant;

use mongodb::{
    bson::{Bson, Document, doc},
    error::ErrorKind,
};

use super::{
    catalogue::{self, CollectionKind},
    connect::{Purpose, Server, Target},
    faults::code,
    privileges,
};
use crate::{
    domain::{
        database::{AccountFacts, Probe},
        run::Run,
    },
    error::Result,
};

/// Facts of a server.
pub struct Facts {
    /// Such as `7.0.5`.
    pub version: String,
    /// Bytes of all documents; `None` when the account may not ask.
    pub size: Option<u64>,
}

impl Facts {
    pub async fn read(server: &Server, databases: &[String], run: &Run) -> Result<Self> {
        let reading = async {
            let info = server.command("admin", doc! { "buildInfo": 1 }).await;
            let info = info.map_err(|cause| server.failed("reading the version of the server", &cause))?;
            let version = info.get_str("version").unwrap_or("of unknown version").to_owned();
            let mut size = Some(0);
            for database in databases {
                let stats = server.command(database, doc! { "dbStats": 1 }).await.ok();
                let bytes = stats.as_ref().and_then(|stats| whole(stats, "dataSize"));
                size = size.zip(bytes).map(|(sum, bytes): (u64, u64)| sum.saturating_add(bytes));
            }
            Ok(Self { version, size })
        };
        run.until_cancelled(reading).await
    }

    /// As a person reads it.
    pub fn server(&self) -> String {
        format!("MongoDB {}", self.version)
    }
}

/// Connections to the whole server that do something, this one not counted, and not those in which drivers wait to hear of
/// changes. `None` when the account may not ask (clusterMonitor lets it), and of servers that do not tell. Errors when the
/// question is not answered.
pub async fn active_connections(target: &Target, run: &Run) -> Result<Option<u32>> {
    let server = target.connect(Purpose::Read, run).await?;
    let asking = async {
        match server.command("admin", doc! { "serverStatus": 1 }).await {
            Ok(status) => Ok(status.get_document("connections").ok().and_then(active)),
            Err(cause) => match &*cause.kind {
                ErrorKind::Command(refused) if [code::UNAUTHORIZED, code::COMMAND_NOT_FOUND].contains(&refused.code) => Ok(None),
                _ => Err(server.failed("asking for the active connections", &cause)),
            },
        }
    };
    run.until_cancelled(asking).await
}

fn active(connections: &Document) -> Option<u32> {
    let waiting = whole(connections, "awaitingTopologyChanges").unwrap_or(0);
    let active = whole(connections, "active")?.saturating_sub(waiting).saturating_sub(1);
    u32::try_from(active).ok()
}

/// Connects and looks around.
pub async fn probe(target: &Target, run: &Run) -> Result<Probe> {
    let server = target.connect(Purpose::Read, run).await?;
    let asked = Instant::now();
    let pinged = server.command("admin", doc! { "ping": 1 });
    run.until_cancelled(async { pinged.await.map_err(|cause| server.failed(format!("asking {target}"), &cause)) }).await?;
    let latency = asked.elapsed();
    let databases = match &target.database {
        Some(database) => vec![database.clone()],
        None => catalogue::databases(&server, run).await?,
    };
    let facts = Facts::read(&server, &databases, run).await?;
    let mut tables = 0;
    for database in &databases {
        let collections = catalogue::collections(&server, database, run).await?;
        catalogue::check_there(database, target.database.is_some(), &collections)?;
        tables += collections.iter().filter(|collection| collection.kind != CollectionKind::View).count() as u64;
    }
    let standalone = (server.hello.set_name.is_none() && !server.hello.mongos)
        .then(|| "backups are not point in time: the server is a standalone, and only replica sets can be read at one moment".to_owned());
    let (account, unknown) = match privileges::read(&server, target, run).await? {
        Ok(account) => (Some(account), None),
        Err(why) => (None, Some(why)),
    };
    Ok(Probe {
        server_version: facts.server(),
        latency_ms: u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
        size: facts.size,
        tables,
        tool: None,
        read_only: account.as_ref().map(AccountFacts::read_only),
        connection: Some(server.link().facts()),
        replication: Some(server.hello.role()),
        warnings: account
            .iter()
            .flat_map(AccountFacts::warnings)
            .chain(unknown)
            .chain(standalone)
            .chain(server.link().warnings())
            .collect(),
        account,
    })
}

/// A number of any type as a whole one that is not negative.
pub fn whole(document: &Document, key: &str) -> Option<u64> {
    match document.get(key)? {
        Bson::Int32(number) => u64::try_from(*number).ok(),
        Bson::Int64(number) => u64::try_from(*number).ok(),
        Bson::Double(number) if *number >= 0.0 => Some(*number as u64),
        _ => None,
    }
}
