//! What the PostgreSQL engine is, as data: forms, API validation and documentation are drawn from it.

use crate::{
    domain::{
        artifact::DumpFormat,
        fields::{
            Field,
            FieldKind::{Bool, Integer, List, Secret, Text},
            join,
        },
        restore::{RestoreContent, RestoreMode},
    },
    engines::{EngineInfo, network::fields as network},
};

const SECONDS: crate::domain::fields::FieldKind = Integer { min: 0, max: 86_400 };

pub static INFO: EngineInfo = EngineInfo {
    id: "postgresql",
    label: "PostgreSQL",
    icon: "postgresql",
    schemes: &["postgresql", "postgres"],
    connection: &join::<5, { network::COUNT }, { 5 + network::COUNT }>(
        [
            Field::new("host", "Host", Text)
                .required()
                .default("localhost")
                .help("Host name, address, or the folder of a Unix socket.")
                .binds_secrets(),
            Field::new("port", "Port", Integer { min: 1, max: 65_535 }).default("5432").binds_secrets(),
            Field::new("database", "Database", Text).required(),
            Field::new("user", "User", Text).required().binds_secrets(),
            Field::new("password", "Password", Secret),
        ],
        network::FIELDS,
    ),
    dump_options: &[
        Field::new("schemaOnly", "Schema only", Bool).help("No rows."),
        Field::new("dataOnly", "Data only", Bool).help("No definitions."),
        Field::new("includeTables", "Only these tables", List).help("Patterns as pg_dump reads them, such as orders or sales.*."),
        Field::new("excludeTables", "Without these tables", List),
        Field::new("includeSchemas", "Only these schemas", List),
        Field::new("excludeSchemas", "Without these schemas", List),
        Field::new("largeObjects", "Large objects", Bool).default("true"),
        Field::new("noOwner", "Without owners", Bool).help("Owners are kept unless this is set."),
        Field::new("noPrivileges", "Without privileges", Bool).help("Grants are kept unless this is set."),
        Field::new("globals", "Roles and tablespaces too", Bool).help("An extra artifact, made by pg_dumpall --globals-only."),
        Field::new("lockTimeoutSeconds", "Lock timeout", SECONDS)
            .default("60")
            .help("Seconds to wait for the lock on a table before the dump fails; 0 waits for ever."),
        Field::new("statementTimeoutSeconds", "Statement timeout", SECONDS)
            .default("0")
            .help("A statement of the dump (one table's rows) that runs longer than this is cancelled and the dump fails; 0 never."),
        Field::new("stallTimeoutSeconds", "Stall timeout", SECONDS)
            .default("1800")
            .help("The dump fails when pg_dump writes nothing for this long, such as behind a lock; 0 waits for ever."),
    ],
    table_lists: Some(["includeTables", "excludeTables"]),
    restore_options: &[
        Field::new("jobs", "Parallel jobs", Integer { min: 1, max: 64 }).default("2"),
        Field::new("noOwner", "Without owners", Bool).help("Everything belongs to the connecting user."),
        Field::new("noPrivileges", "Without privileges", Bool).help("No grants are restored."),
        Field::new("globals", "Roles and tablespaces first", Bool)
            .help("Creates those that are missing, where the backup holds them; roles that exist are left as they are."),
        Field::new("ifExists", "Ignore missing objects", Bool)
            .default("true")
            .help("In clean mode: an object that is not there needs no dropping."),
        Field::new("singleTransaction", "One transaction", Bool).help("All or nothing, with one job."),
        Field::new("exitOnError", "Stop at the first error", Bool)
            .default("true")
            .help("Otherwise errors become warnings and what can be restored is."),
        Field::new("disableTriggers", "Disable triggers", Bool).help("While rows alone are restored; needs a superuser."),
        Field::new("lockTimeoutSeconds", "Lock timeout", SECONDS).default("60").help("Seconds; 0 waits for ever."),
        Field::new("statementTimeoutSeconds", "Statement timeout", SECONDS).default("0").help(
            "Seconds a statement of a plain SQL script may run; 0 never ends one. Archives are restored by pg_restore, which sets none.",
        ),
        Field::new("analyze", "Analyze afterwards", Bool).help("Collects planner statistics at the end."),
    ],
    restore_modes: &[RestoreMode::New, RestoreMode::Drop, RestoreMode::Clean, RestoreMode::Append],
    restore_contents: &[RestoreContent::All, RestoreContent::Schema, RestoreContent::Data],
    target_field: "database",
    restore_tables: true,
    end_connections: true,
    formats: &[DumpFormat::PgCustom, DumpFormat::PlainSql],
};
