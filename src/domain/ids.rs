//! One type per id, so that a backup's id cannot be passed where a job's is meant. Ids are UUIDv7: they sort by time.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $noun:literal),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = String, format = Uuid)]
        pub struct $name(pub Uuid);

        impl $name {
            #[allow(clippy::new_without_default)]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// Six hex digits for file names and log lines; taken from the random end of the id.
            pub fn short(&self) -> String {
                let hex = self.0.simple().to_string();
                hex[hex.len() - 6..].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Uuid::parse_str(text).map(Self).map_err(|_| Error::not_found(format_args!(concat!($noun, " '{}'"), text)))
            }
        }
    )*};
}

ids! {
    OrganizationId = "organization",
    ProjectId = "project",
    DatabaseId = "database",
    StoreId = "store",
    BackupId = "backup",
    ArtifactId = "artifact",
    RestoreId = "restore",
    DiffId = "comparison",
    JobId = "job",
    UserId = "user",
    SessionId = "session",
    ApiKeyId = "API key",
    AuditId = "audit event",
    UploadId = "upload",
    ExportId = "export",
    ScheduleId = "schedule",
    RunId = "run",
    PolicyId = "retention policy",
    NotifierId = "notifier",
    NoticeId = "notice",
    DeliveryId = "delivery",
}

impl OrganizationId {
    /// The organization that the first migration makes.
    pub const DEFAULT: Self = Self(Uuid::from_u128(1));
}

impl ProjectId {
    /// The project that the first migration makes.
    pub const DEFAULT: Self = Self(Uuid::from_u128(1));
}

impl StoreId {
    /// The local store at BACKUP_STORAGE_PATH that the first migration makes.
    pub const LOCAL: Self = Self(Uuid::from_u128(1));
}
