//! What the MySQL engine is, as data: forms, API validation and documentation are drawn from it.

use crate::{
    domain::{
        artifact::DumpFormat,
        fields::{
            Field,
            FieldKind::{Bool, Choice, Integer, List, Secret, Text},
            join,
        },
        restore::{RestoreContent, RestoreMode},
    },
    engines::{EngineInfo, network::fields as network},
};

const SECONDS: crate::domain::fields::FieldKind = Integer { min: 0, max: 86_400 };

/// What becomes of the transaction ids that the server has executed.
pub const GTID_CHOICES: &[&str] = &["off", "comment", "on"];

pub static INFO: EngineInfo = EngineInfo {
    id: "mysql",
    label: "MySQL / MariaDB",
    icon: "mysql",
    schemes: &["mysql", "mariadb"],
    connection: &join::<5, { network::COUNT }, { 5 + network::COUNT }>(
        [
            Field::new("host", "Host", Text)
                .required()
                .default("localhost")
                .help("Host name, address, or the path of a Unix socket.")
                .binds_secrets(),
            Field::new("port", "Port", Integer { min: 1, max: 65_535 }).default("3306").binds_secrets(),
            Field::new("database", "Database", Text).help("May be left out where all databases of the server are dumped."),
            Field::new("user", "User", Text).required().binds_secrets(),
            Field::new("password", "Password", Secret),
        ],
        network::FIELDS,
    ),
    dump_options: &[
        Field::new("schemaOnly", "Schema only", Bool).help("No rows."),
        Field::new("dataOnly", "Data only", Bool).help("No definitions."),
        Field::new("includeTables", "Only these tables", List)
            .help("Names of tables and views; * stands for any text. With all databases: database.table."),
        Field::new("excludeTables", "Without these tables", List),
        Field::new("allDatabases", "All databases", Bool)
            .help("Every database of the server in one dump, with the statements that create them; the server's own are left out."),
        Field::new("routines", "Routines", Bool).default("true").help("Stored procedures and functions."),
        Field::new("triggers", "Triggers", Bool).default("true"),
        Field::new("events", "Events", Bool).default("true"),
        Field::new("gtid", "Transaction ids", Choice { of: GTID_CHOICES })
            .default("off")
            .help("What is written of the server's executed GTIDs: nothing, a comment, or the statement that a new replica starts from."),
        Field::new("lockTimeoutSeconds", "Lock timeout", SECONDS)
            .default("60")
            .help("Seconds to wait for the lock on a table before the dump fails; 0 waits as long as the server does."),
        Field::new("statementTimeoutSeconds", "Statement timeout", SECONDS)
            .default("0")
            .help("A statement of the dump (one table's rows) that runs longer than this is ended and the dump fails; 0 never."),
        Field::new("stallTimeoutSeconds", "Stall timeout", SECONDS)
            .default("1800")
            .help("The dump fails when nothing arrives for this long; 0 waits for ever."),
    ],
    table_lists: Some(["includeTables", "excludeTables"]),
    restore_options: &[
        Field::new("stopOnError", "Stop at the first error", Bool)
            .default("true")
            .help("Otherwise errors become warnings and what can be restored is."),
        Field::new("definers", "Definers", Choice { of: &["keep", "drop"] })
            .default("keep")
            .help("drop: views, triggers, routines and events belong to the connecting user, whoever they belonged to."),
        Field::new("fromDatabase", "Database in the dump", Text)
            .help("Which one of a dump of several databases is restored into the target."),
        Field::new("gtid", "Keep transaction ids", Bool).help(
            "Runs the statements of the dump that set the server's executed GTIDs and switch its binary log off; else they are left out.",
        ),
        Field::new("jobs", "Parallel jobs", Integer { min: 1, max: 64 }).default("2").help("Connections that count rows afterwards."),
        Field::new("lockTimeoutSeconds", "Lock timeout", SECONDS)
            .default("60")
            .help("Seconds a statement waits for others who use a table; 0 waits for ever."),
        Field::new("stallTimeoutSeconds", "Stall timeout", SECONDS)
            .default("0")
            .help("The restore fails when the server takes nothing for this long, such as while it builds an index; 0 waits for ever."),
        Field::new("analyze", "Analyze afterwards", Bool).help("Collects the optimizer's statistics at the end."),
    ],
    restore_modes: &[RestoreMode::New, RestoreMode::Drop, RestoreMode::Clean, RestoreMode::Append],
    restore_contents: &[RestoreContent::All, RestoreContent::Schema, RestoreContent::Data],
    target_field: "database",
    restore_tables: true,
    end_connections: true,
    formats: &[DumpFormat::PlainSql],
};
