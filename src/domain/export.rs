//! Exports: the rows of a table as a file, by a link that works once.

use serde::{Deserialize, Serialize};

use super::{
    backup::text_enum,
    ids::{BackupId, DiffId, ExportId},
    time::Moment,
};

text_enum! {
    ExportFormat {
        /// INSERT statements; of a comparison, the statements that apply it.
        Sql = "sql",
        /// RFC 4180, with the names of the columns first. NULL is an empty field, empty text is "".
        Csv = "csv",
        /// One JSON object per line.
        JsonLines = "jsonl",
    }
}

/// What a link exports: exactly one of `backup_id` and `diff_id`, and a table of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportRequest {
    /// All rows of a table, as the backup has them.
    #[serde(default)]
    pub backup_id: Option<BackupId>,
    /// All changes of a table.
    #[serde(default)]
    pub diff_id: Option<DiffId>,
    /// As `name` or `schema.name`.
    pub table: String,
    pub format: ExportFormat,
}

/// A link as the catalogue keeps it.
#[derive(Debug, Clone)]
pub struct ExportLink {
    pub id: ExportId,
    pub what: ExportRequest,
    pub file_name: String,
    /// Who made it, for the audit trail.
    pub made_by: String,
    pub created_at: Moment,
    pub expires_at: Moment,
}
