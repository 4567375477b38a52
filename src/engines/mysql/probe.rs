//! A look at a server and at what the account may do there.

use std::time::Instant;

use mysql_async::Conn;

use super::{
    account::Account,
    catalogue::{self, Kind, Scope},
    connect::{Target, clean},
    record::{record, records},
    server::Server,
    tools::Places,
    version::{Flavour, Version},
};
use crate::{
    domain::{
        database::{Probe, Settings},
        run::Run,
    },
    error::Result,
};

/// The first MySQL release that says replica and source.
const REPLICA: Version = Version::new(8, 0, 22);

/// Connects and looks around: at the database of the settings, or at all where they name none.
pub async fn probe(settings: &Settings, places: Places, run: &Run) -> Result<Probe> {
    let target = Target::open(settings, run).await?;
    let all = target.address.database.is_empty();
    let mut connection = if all { target.connect_to_server(run).await? } else { target.connect(run).await? };
    run.until_cancelled(look(&mut connection, &target, all, places, run)).await
}

/// Connections to the whole server that do something, this one not counted: every account may ask for that number, and
/// only privileged ones whose they are.
pub async fn active_connections(settings: &Settings, run: &Run) -> Result<Option<u32>> {
    let target = Target::open(settings, run).await?;
    let mut connection = target.connect_to_server(run).await?;
    let asking = async {
        let status = record(&mut connection, "SHOW GLOBAL STATUS LIKE 'Threads_running'").await;
        let running = status.map_err(|failure| catalogue::asking(&target, failure))?.optional(1);
        Ok(running.and_then(|running| running.parse::<u32>().ok()).map(|running| running.saturating_sub(1)))
    };
    run.until_cancelled(asking).await
}

async fn look(connection: &mut Conn, target: &Target, all: bool, places: Places, run: &Run) -> Result<Probe> {
    let server = Server::read(connection, target).await?;
    let asked = Instant::now();
    record(connection, "SELECT 1").await.map_err(|failure| catalogue::asking(target, failure))?;
    let latency = asked.elapsed();
    let scope = if all { Scope::all(connection, target).await? } else { Scope::One(target.database()?.to_owned()) };
    let mut tables = catalogue::tables(connection, &scope, target).await?;
    tables.retain(|table| table.kind == Kind::Table);
    let floats = !catalogue::float_tables(connection, &scope, target).await?.is_empty();
    let account = Account::read(connection, target).await?.facts(connection, &server, floats, &scope, target).await?;
    let mut warnings = Vec::new();
    let tool = match places.to_dump(server.flavour, server.version, run).await {
        Ok(tool) => {
            match catalogue::foreign_tool(connection, &server, &tool, &scope, target).await {
                Ok(found) => warnings.extend(found),
                Err(error) => warnings.push(error.to_string()),
            }
            Some(tool.to_string())
        }
        Err(error) if error.is_cancelled() => return Err(error),
        Err(error) => {
            warnings.push(error.to_string());
            None
        }
    };
    warnings.extend(catalogue::not_transactional(connection, &tables, &scope, target).await?);
    warnings.extend(target.warnings());
    warnings.extend(account.warnings());
    Ok(Probe {
        server_version: server.to_string(),
        latency_ms: u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
        size: Some(tables.iter().map(|table| table.size).sum()),
        tables: tables.len() as u64,
        tool,
        read_only: Some(account.read_only()),
        account: Some(account),
        connection: Some(target.facts()),
        replication: replication(connection, &server).await,
        warnings,
    })
}

/// What the server is among others; `None` where it is alone or the account may not ask.
async fn replication(connection: &mut Conn, server: &Server) -> Option<String> {
    let mysql = server.flavour == Flavour::MySql;
    let sql = if mysql && server.version >= REPLICA { "SHOW REPLICA STATUS" } else { "SHOW SLAVE STATUS" };
    let sources = records(connection, sql).await.unwrap_or_default();
    let mut known: Vec<String> = sources.iter().map(|row| format!("replica of {}:{}", clean(row.text(1)), row.number(3))).collect();
    let size = record(connection, "SHOW STATUS LIKE 'wsrep_cluster_size'").await.unwrap_or_default().number(1);
    if size > 0 {
        known.push(format!("Galera cluster of {size}"));
    }
    (!known.is_empty()).then(|| known.join(", "))
}
