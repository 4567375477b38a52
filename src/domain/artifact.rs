//! What a backup produces.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    compression::Compression,
    ids::{ArtifactId, BackupId, StoreId},
    time::Moment,
};
use crate::error::{Error, Result};

/// The part of a backup that an artifact holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ArtifactKind {
    /// What the engine's own tools restore.
    Dump,
    /// Roles and tablespaces of a PostgreSQL server, as SQL.
    Globals,
    /// DBSnap's ordered copy of rows and schema.
    Snapshot,
}

impl ArtifactKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dump => "dump",
            Self::Globals => "globals",
            Self::Snapshot => "snapshot",
        }
    }
}

impl fmt::Display for ArtifactKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ArtifactKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "dump" => Ok(Self::Dump),
            "globals" => Ok(Self::Globals),
            "snapshot" => Ok(Self::Snapshot),
            _ => Err(Error::validation(format!("artifact '{text}' is not known")).hint("use dump, globals or snapshot")),
        }
    }
}

/// The plain bytes inside an artifact, before compression and encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DumpFormat {
    /// `pg_dump -Fc`.
    PgCustom,
    /// SQL text, such as `pg_dump -Fp`, `pg_dumpall` or `mysqldump` writes.
    PlainSql,
    /// A SQLite database file.
    SqliteFile,
    /// `mongodump --archive`.
    MongoArchive,
    /// DBSnap's own snapshot: it compresses and encrypts itself, leaf by leaf.
    Snapshot,
}

impl DumpFormat {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PgCustom => "pg-custom",
            Self::PlainSql => "plain-sql",
            Self::SqliteFile => "sqlite-file",
            Self::MongoArchive => "mongo-archive",
            Self::Snapshot => "snapshot",
        }
    }

    /// The extension of the decrypted, decompressed file, for the tools that read it.
    pub fn extension(self) -> &'static str {
        match self {
            Self::PgCustom => "dump",
            Self::PlainSql => "sql",
            Self::SqliteFile => "db",
            Self::MongoArchive => "archive",
            Self::Snapshot => "snap",
        }
    }
}

impl FromStr for DumpFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::PgCustom, Self::PlainSql, Self::SqliteFile, Self::MongoArchive, Self::Snapshot]
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or_else(|| Error::validation(format!("dump format '{text}' is not known")))
    }
}

/// Exact number of rows of one table. `name` is schema-qualified where the engine has schemas, unquoted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TableCount {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    pub name: String,
    pub rows: u64,
}

impl TableCount {
    /// `schema.name`, for people.
    pub fn label(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// One stored artifact, a row of the catalogue.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    pub id: ArtifactId,
    pub backup_id: BackupId,
    pub kind: ArtifactKind,
    pub format: DumpFormat,
    pub store_id: StoreId,
    /// The key in the store.
    pub key: String,
    /// Bytes before compression.
    pub plain_size: u64,
    /// Bytes in the store.
    pub stored_size: u64,
    pub plain_sha256: String,
    pub stored_sha256: String,
    #[schema(value_type = String)]
    pub compression: Compression,
    /// Id of the encryption key; `None` when it is not encrypted.
    pub key_id: Option<String>,
    pub created_at: Moment,
}

impl Artifact {
    pub fn file_name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or(&self.key)
    }
}
