//! What a server and a database on it say of themselves.

use std::time::Instant;

use tokio_postgres::Client;

use super::{
    account,
    connect::{Target, failed},
    tools::{Places, Version},
};
use crate::{
    domain::{database::Probe, run::Run},
    error::{Error, Kind, Result},
};

/// The oldest server that is supported.
const OLDEST: u32 = 12;

/// Facts that need no more than the right to connect.
pub struct Facts {
    pub version: Version,
    /// Bytes; `None` when the account may not ask.
    pub size: Option<u64>,
    /// Ordinary tables outside the system schemas, partitions included.
    pub tables: u64,
    pub superuser: bool,
    /// It replays the log of another server.
    pub standby: bool,
}

impl Facts {
    pub async fn read(client: &Client, target: &Target) -> Result<Self> {
        let row = client
            .query_one(
                "SELECT current_setting('server_version_num')::int,
                        (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
                        (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                          WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'),
                        has_database_privilege(current_database(), 'CONNECT'), pg_is_in_recovery()",
                &[],
            )
            .await
            .map_err(|cause| failed(format!("reading the version of {target}"), &cause))?;
        let version = Version::from_number(u32::try_from(row.get::<_, i32>(0)).unwrap_or(0));
        if version.major < OLDEST {
            return Err(Error::new(
                Kind::Database,
                format!("{target} runs PostgreSQL {version}; the oldest supported major release is {OLDEST}"),
            )
            .hint("upgrade the server"));
        }
        let size = if row.get(3) { client.query_one("SELECT pg_database_size(current_database())", &[]).await.ok() } else { None };
        Ok(Self {
            version,
            size: size.and_then(|row| u64::try_from(row.get::<_, i64>(0)).ok()),
            tables: u64::try_from(row.get::<_, i64>(2)).unwrap_or(0),
            superuser: row.get::<_, Option<bool>>(1).unwrap_or(false),
            standby: row.get(4),
        })
    }

    /// As a person reads it.
    pub fn server(&self) -> String {
        format!("PostgreSQL {}", self.version)
    }
}

/// Connections to the database that do something, this one not counted. `None` when the account may not see what the
/// others do (pg_monitor lets it).
pub async fn active_connections(target: &Target, run: &Run) -> Result<Option<u32>> {
    let client = target.connect(run).await?;
    let sql = "SELECT count(*) FILTER (WHERE state <> 'idle'), count(*) FILTER (WHERE state IS NULL) FROM pg_stat_activity
               WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let row = client.query_one(sql, &[]).await.map_err(|cause| failed(format!("counting the connections of {target}"), &cause))?;
    let (active, hidden): (i64, i64) = (row.get(0), row.get(1));
    Ok(u32::try_from(active).ok().filter(|_| hidden == 0))
}

/// Connects and looks around.
pub async fn probe(target: &Target, places: Places, run: &Run) -> Result<Probe> {
    let client = target.connect(run).await?;
    let facts = Facts::read(&client, target).await?;
    let asked = Instant::now();
    client.simple_query("SELECT 1").await.map_err(|cause| failed(format!("asking {target} for an answer"), &cause))?;
    let latency = asked.elapsed();
    let account = account::read(&client, target, &facts).await?;
    let mut warnings = Vec::new();
    let tool = match places.to_dump("pg_dump", facts.version, run).await {
        Ok(tool) => {
            warnings.extend(tool.warning());
            Some(tool.to_string())
        }
        Err(error) if error.is_cancelled() => return Err(error),
        Err(error) => {
            warnings.push(error.to_string());
            None
        }
    };
    warnings.extend(target.warnings());
    warnings.extend(account.warnings());
    Ok(Probe {
        server_version: facts.server(),
        latency_ms: u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
        size: facts.size,
        tables: facts.tables,
        tool,
        read_only: Some(account.read_only()),
        account: Some(account),
        connection: Some(target.facts()),
        replication: Some(if facts.standby { "standby (replaying)" } else { "primary" }.to_owned()),
        warnings,
    })
}
