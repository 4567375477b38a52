//! What the MongoDB engine is, as data: forms, API validation and documentation are drawn from it.

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

pub const MECHANISMS: &[&str] = &["auto", "SCRAM-SHA-256", "SCRAM-SHA-1", "MONGODB-X509", "PLAIN"];
pub const READ_PREFERENCES: &[&str] = &["primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest"];

pub static INFO: EngineInfo = EngineInfo {
    id: "mongodb",
    label: "MongoDB",
    icon: "mongodb",
    schemes: &["mongodb", "mongodb+srv"],
    connection: &join::<10, { network::COUNT }, { 10 + network::COUNT }>(
        [
            Field::new("hosts", "Hosts", Text)
                .required()
                .default("localhost:27017")
                .help("host:port, several with commas for the members of a replica set or several mongos.")
                .binds_secrets(),
            Field::new("database", "Database", Text).help("Left empty: every database of the server."),
            Field::new("user", "User", Text).binds_secrets(),
            Field::new("password", "Password", Secret),
            Field::new("authSource", "Authentication database", Text)
                .help("Where the user is defined. Left empty: admin, or $external for X.509 and LDAP."),
            Field::new("authMechanism", "Authentication", Choice { of: MECHANISMS })
                .default("auto")
                .help("MONGODB-X509 proves the user by the client certificate; PLAIN is LDAP and needs TLS.")
                .binds_secrets(),
            Field::new("replicaSet", "Replica set", Text).help("Its name, checked where it is given."),
            Field::new("readPreference", "Read from", Choice { of: READ_PREFERENCES })
                .default("primary")
                .help("The member of a replica set that backups read from. Restores always write to the primary."),
            Field::new("directConnection", "Only these hosts", Bool)
                .help("Never goes on to other members that the replica set names, such as where their names are not known here."),
            Field::new("srv", "DNS seed list", Bool)
                .help("The host is a name whose SRV record lists the servers (mongodb+srv). It is looked up from here, not through tunnel or proxy.")
                .binds_secrets(),
        ],
        network::FIELDS,
    ),
    dump_options: &[
        Field::new("schemaOnly", "Definitions only", Bool).help("Collections, views and indexes without documents."),
        Field::new("includeCollections", "Only these collections", List)
            .help("Names, or patterns with *; with all databases as database.collection."),
        Field::new("excludeCollections", "Without these collections", List),
        Field::new("usersAndRoles", "Users and roles too", Bool)
            .help("Those defined in the database, or all of them with all databases. Needs the role backup."),
        Field::new("pointInTime", "One moment", Choice { of: &["auto", "require", "off"] })
            .default("auto")
            .help("All collections as of one moment. auto: where the server can (replica sets and sharded clusters), else with a warning; require: or fail."),
        Field::new("statementTimeoutSeconds", "Statement timeout", SECONDS)
            .default("0")
            .help("Seconds that the server may work on one query or one batch of it before the dump fails; 0 never ends it."),
        Field::new("stallTimeoutSeconds", "Stall timeout", SECONDS)
            .default("1800")
            .help("The dump fails when the server sends nothing for this long; 0 waits for ever."),
    ],
    table_lists: Some(["includeCollections", "excludeCollections"]),
    restore_options: &[
        Field::new("jobs", "Parallel inserts", Integer { min: 1, max: 16 }).default("4").help("Batches on their way at once."),
        Field::new("batchSize", "Documents per batch", Integer { min: 1, max: 100_000 })
            .default("1000")
            .help("At most 2 MiB go into a batch of several documents."),
        Field::new("writeConcern", "Acknowledged by", Choice { of: &["majority", "1"] })
            .default("majority")
            .help("majority: most members of a replica set have it; 1: the primary alone, faster."),
        Field::new("validation", "Validators", Choice { of: &["auto", "check", "bypass"] })
            .default("auto")
            .help("auto: documents go as they are into collections that the restore makes, and are checked by the validator of collections that were there; check: always; bypass: never."),
        Field::new("exitOnError", "Stop at the first error", Bool)
            .default("true")
            .help("Otherwise documents and indexes that the server refuses are left out, counted and named as warnings."),
        Field::new("usersAndRoles", "Users and roles too", Bool)
            .help("Adds those that the backup holds and changes those of the same name. Needs the role restore on admin."),
    ],
    restore_modes: &[RestoreMode::New, RestoreMode::Drop, RestoreMode::Clean, RestoreMode::Append],
    restore_contents: &[RestoreContent::All, RestoreContent::Schema, RestoreContent::Data],
    target_field: "database",
    restore_tables: true,
    end_connections: false,
    formats: &[DumpFormat::MongoArchive],
};
