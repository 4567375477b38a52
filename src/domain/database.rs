//! A configured source.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    backup::BackupOptions,
    ids::{DatabaseId, ProjectId, StoreId},
    time::Moment,
};

/// Validated settings of an engine or a store, by field name. In the catalogue secrets are sealed; see `domain::fields`.
pub type Settings = Map<String, Value>;

/// One configured database. It is never serialised to the API as it is: `services::databases` makes a view without secrets.
#[derive(Debug, Clone)]
pub struct Database {
    pub id: DatabaseId,
    pub project_id: ProjectId,
    pub name: String,
    pub engine: String,
    /// Connection settings; secret fields hold sealed text.
    pub settings: Settings,
    pub store_id: StoreId,
    pub backup_options: BackupOptions,
    pub created_at: Moment,
    pub updated_at: Moment,
}

/// What a probe of a live database found.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// As a person reads it, such as `PostgreSQL 17.2`.
    pub server_version: String,
    /// Round trip of a trivial query, milliseconds.
    pub latency_ms: u64,
    /// Size of the database on the server, bytes, where it can be told.
    pub size: Option<u64>,
    /// Number of tables.
    pub tables: u64,
    /// The tool that would dump it, such as `pg_dump 17.2`; `None` where no tool is used.
    pub tool: Option<String>,
    /// True when the account cannot write; `None` when that cannot be told.
    pub read_only: Option<bool>,
    /// What the account may and should do; `None` where there are no accounts.
    pub account: Option<AccountFacts>,
    /// How the server was reached; `None` where there is no server.
    pub connection: Option<ConnectionFacts>,
    /// What the server is among others, such as `replica set rs0, secondary`; `None` where the engine knows no such thing.
    pub replication: Option<String>,
    pub warnings: Vec<String>,
}

/// What an account may do, next to what a backup needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountFacts {
    /// As the server names it.
    pub user: String,
    /// What it may do beyond reading, such as `write rows`, `change the schema`, `everything (superuser)`.
    pub beyond_reading: Vec<String>,
    /// Grants that a whole backup needs and it lacks, as the server names them.
    pub missing: Vec<String>,
    /// Statements for an administrator to copy: they make an account that may read all a backup needs and nothing else.
    pub script: String,
}

impl AccountFacts {
    /// True when the account may do nothing beyond reading.
    pub fn read_only(&self) -> bool {
        self.beyond_reading.is_empty()
    }

    /// What a person should be warned of: rights that a backup does not need, and rights that it lacks.
    pub fn warnings(&self) -> Vec<String> {
        let too_much = (!self.read_only()).then(|| {
            let rights = self.beyond_reading.join("; ");
            format!(
                "the account {} may do more than a backup needs: {rights} (the script in `account` makes one that only reads)",
                self.user
            )
        });
        let too_little = (!self.missing.is_empty()).then(|| {
            let missing = self.missing.join("; ");
            format!(
                "the account {} may not read everything, and a backup of the whole database fails or is incomplete: it lacks {missing}",
                self.user
            )
        });
        too_much.into_iter().chain(too_little).collect()
    }
}

/// The way a connection took and what is proven of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionFacts {
    /// `None` when the connection is not encrypted.
    pub tls: Option<TlsFacts>,
    /// The SSH server it passes through.
    pub ssh: Option<SshFacts>,
    /// The proxy it passes through, such as `socks5://user@proxy:1080`, without secrets.
    pub proxy: Option<String>,
}

/// An encrypted connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsFacts {
    /// Such as `TLS 1.3`.
    pub version: String,
    pub cipher: String,
    /// What of the server's certificate was checked: `nothing`, `authority`, or `authority and name`.
    pub verified: String,
    /// Subject of the server's certificate.
    pub subject: String,
    pub issuer: String,
    pub expires_at: Option<Moment>,
    /// True when a client certificate was shown.
    pub client_certificate: bool,
}

/// An SSH server on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SshFacts {
    /// `user@host:port`.
    pub address: String,
    /// Such as `SHA256:...`.
    pub host_key: String,
    /// False when the key was accepted unseen, because none was known yet.
    pub host_key_known: bool,
    /// Round trip to the SSH server, milliseconds.
    pub latency_ms: u64,
}
