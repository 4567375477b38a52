//! What a server and a database on it say of themselves.

use std::time::Instant;

use tokio_postgres::Client;

use super::{
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
        })
    }

    /// As a person reads it.
    pub fn server(&self) -> String {
        format!("PostgreSQL {}", self.version)
    }
}

/// Connects and looks around.
pub async fn probe(target: &Target, places: Places, run: &Run) -> Result<Probe> {
    let client = target.connect(run).await?;
    let facts = Facts::read(&client, target).await?;
    let asked = Instant::now();
    let row = client
        .query_one(
            "SELECT current_setting('transaction_read_only') = 'on' OR NOT has_database_privilege(current_database(), 'CREATE')
                    AND NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                         WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
                           AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE'))",
            &[],
        )
        .await
        .map_err(|cause| failed(format!("asking {target} what the account may do"), &cause))?;
    let latency = asked.elapsed();
    let mut warnings = unreadable(&client, target).await?;
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
    Ok(Probe {
        server_version: facts.server(),
        latency_ms: u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
        size: facts.size,
        tables: facts.tables,
        tool,
        read_only: Some(row.get(0)),
        account: None,
        connection: None,
        replication: None,
        warnings,
    })
}

/// Warns of tables that the account may not read: pg_dump stops at the first.
pub async fn unreadable(client: &Client, target: &Target) -> Result<Vec<String>> {
    let rows = client
        .query(
            "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind IN ('r', 'S', 'm') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
                AND NOT (has_schema_privilege(n.oid, 'USAGE') AND
                         CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT') ELSE has_table_privilege(c.oid, 'SELECT') END)
              ORDER BY 1",
            &[],
        )
        .await
        .map_err(|cause| failed(format!("asking {target} what the account may read"), &cause))?;
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(match names.as_slice() {
        [] => Vec::new(),
        [first, rest @ ..] => vec![format!(
            "the user {} may not read {first}{}: a dump of the whole database fails (grant pg_read_all_data, or leave them out)",
            target.user,
            if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) }
        )],
    })
}
