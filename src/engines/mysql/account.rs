//! What the account may do, next to what a backup needs.

use std::collections::BTreeMap;

use mysql_async::Conn;

use super::{
    arguments::Arguments,
    catalogue::{self, Scope},
    connect::{Target, clean, ident},
    grants::Grants,
    record::{Failure, record, records},
    server::Server,
    version::{Flavour, Version},
};
use crate::{domain::database::AccountFacts, error::Result};

/// The first MySQL release with the privilege to read routines of others.
const SHOW_ROUTINE: Version = Version::new(8, 0, 20);
/// The first MariaDB release with one.
const SHOW_CREATE_ROUTINE: Version = Version::new(11, 3, 0);

/// Privileges that let an account change something, and what for.
const BEYOND: &[(&str, &[&str])] = &[
    ("write rows", &["INSERT", "UPDATE", "DELETE", "DELETE HISTORY"]),
    (
        "change the schema",
        &["CREATE", "ALTER", "DROP", "INDEX", "REFERENCES", "CREATE VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "CREATE TABLESPACE"],
    ),
    ("run routines", &["EXECUTE"]),
    ("make accounts and grant rights", &["CREATE USER", "CREATE ROLE", "DROP ROLE", "GRANT OPTION", "ROLE_ADMIN", "SYSTEM_USER"]),
    ("read and write files of the server", &["FILE"]),
    (
        "administer the server",
        &[
            "SUPER",
            "SHUTDOWN",
            "CONNECTION_ADMIN",
            "CONNECTION ADMIN",
            "SYSTEM_VARIABLES_ADMIN",
            "PERSIST_RO_VARIABLES_ADMIN",
            "BINLOG_ADMIN",
            "BINLOG ADMIN",
            "REPLICATION_SLAVE_ADMIN",
            "REPLICATION SLAVE ADMIN",
            "GROUP_REPLICATION_ADMIN",
            "READ_ONLY ADMIN",
            "CLONE_ADMIN",
            "ENCRYPTION_KEY_ADMIN",
            "SET USER",
            "SET_USER_ID",
            "SET_ANY_DEFINER",
            "FEDERATED ADMIN",
            "RESOURCE_GROUP_ADMIN",
        ],
    ),
];

/// An account as its server sees it.
pub struct Account {
    /// `user@host` of the account that the server chose.
    pub user: String,
    grants: Grants,
}

impl Account {
    /// Asks the server.
    pub async fn read(connection: &mut Conn, target: &Target) -> Result<Self> {
        let asking = |failure: Failure| target.explain(failure.while_doing(format!("asking {} what the account may do", target.address)));
        let user = record(connection, "SELECT CURRENT_USER()").await.map_err(asking)?.owned(0);
        // Without USING, MySQL names the roles but not what they give. MariaDB has another form of the answer, and needs none.
        let roles = record(connection, "SELECT CURRENT_ROLE()").await.unwrap_or_default().owned(0);
        let using = format!("SHOW GRANTS FOR CURRENT_USER() USING {roles}");
        let rows = match roles.as_str() {
            "" | "NONE" => Err(None),
            _ => records(connection, &using).await.map_err(Some),
        };
        let rows = match rows {
            Ok(rows) => rows,
            Err(_) => records(connection, "SHOW GRANTS").await.map_err(asking)?,
        };
        Ok(Self { user: clean(&user), grants: Grants::read(rows.iter().map(|row| row.text(0))) })
    }

    /// Grants that a dump lacks, as the server names them.
    pub async fn missing_for_dump(
        &self,
        connection: &mut Conn,
        arguments: &Arguments<'_>,
        scope: &Scope,
        target: &Target,
    ) -> Result<Vec<String>> {
        let wanted = Wanted { triggers: arguments.triggers(), routines: arguments.routines(), events: arguments.events() };
        self.missing(connection, arguments.server, wanted, scope, target).await
    }

    /// Grants that a dump of everything in a scope lacks.
    async fn missing(&self, connection: &mut Conn, server: &Server, wanted: Wanted, scope: &Scope, target: &Target) -> Result<Vec<String>> {
        let mut missing = Vec::new();
        let needed = [("SELECT", true), ("SHOW VIEW", true), ("TRIGGER", wanted.triggers), ("EVENT", wanted.events)];
        for (privilege, _) in needed.into_iter().filter(|(_, needed)| *needed) {
            if scope.is_all() {
                if !self.grants.on_server(privilege) && !scope.databases().iter().all(|name| self.grants.on_database(privilege, name)) {
                    missing.push(format!("{privilege} on *.*"));
                }
            } else {
                let lacking = scope.databases().iter().filter(|name| !self.grants.on_database(privilege, name));
                missing.extend(lacking.map(|name| format!("{privilege} on {}.*", ident(name))));
            }
        }
        if wanted.routines && !self.reads_routines(connection, server, scope, target).await? {
            missing.push(routine_privilege(server, scope));
        }
        Ok(missing)
    }

    /// True when the text of every routine can be read, as far as the account can see.
    async fn reads_routines(&self, connection: &mut Conn, server: &Server, scope: &Scope, target: &Target) -> Result<bool> {
        let everywhere = self.grants.on_server("SELECT")
            || match server.flavour {
                Flavour::MySql if server.version >= SHOW_ROUTINE => self.grants.on_server("SHOW_ROUTINE"),
                Flavour::MySql => self.grants.on_table("SELECT", "mysql", "proc"),
                Flavour::MariaDb => self.grants.on_table("SELECT", "mysql", "proc"),
            };
        let here = |privilege: &str| scope.databases().iter().all(|name| self.grants.on_database(privilege, name));
        if everywhere || here("SHOW CREATE ROUTINE") {
            return Ok(true);
        }
        // With one of these the account sees every routine there, and can tell whether there is one that it may not read.
        let sees = ["EXECUTE", "CREATE ROUTINE", "ALTER ROUTINE"].into_iter().any(here);
        Ok(sees && catalogue::hidden_routines(connection, scope, target).await?.is_empty())
    }

    /// True when the account may stop the writes of the whole server for a moment.
    fn may_hold(&self, server: &Server) -> bool {
        self.grants.on_server("RELOAD") || server.flavour == Flavour::MySql && self.grants.on_server("FLUSH_TABLES")
    }

    /// What a probe shows. `floats`: there are FLOAT columns, whose rows are read beside the program.
    pub async fn facts(
        &self,
        connection: &mut Conn,
        server: &Server,
        floats: bool,
        scope: &Scope,
        target: &Target,
    ) -> Result<AccountFacts> {
        let wanted = Wanted { triggers: true, routines: true, events: true };
        let mut missing = self.missing(connection, server, wanted, scope, target).await?;
        if floats && !self.may_hold(server) {
            missing.push("RELOAD on *.*".into());
        }
        Ok(AccountFacts { user: self.user.clone(), beyond_reading: self.beyond_reading(), missing, script: script(server, floats, scope) })
    }

    fn beyond_reading(&self) -> Vec<String> {
        let mut beyond = Vec::new();
        let everything = |privilege: &str| privilege == "ALL PRIVILEGES" || privilege == "ALL";
        // MySQL spells out what ALL PRIVILEGES were when they were granted.
        if ["INSERT", "DROP", "CREATE USER", "FILE", "SHUTDOWN", "SUPER"].iter().all(|privilege| self.grants.on_server(privilege)) {
            return vec!["everything (ALL PRIVILEGES)".into()];
        }
        let mut all: Vec<String> = self.grants.all().filter(|(privilege, _)| everything(privilege)).map(|(_, place)| place).collect();
        all.dedup();
        if !all.is_empty() {
            beyond.push(format!("everything in {}", some(&all)));
        }
        for (what, privileges) in BEYOND {
            let mut places: BTreeMap<String, ()> = BTreeMap::new();
            for (privilege, place) in self.grants.all() {
                if privileges.contains(&privilege) {
                    places.insert(place, ());
                }
            }
            if !places.is_empty() {
                let places: Vec<String> = places.into_keys().collect();
                beyond.push(if places.iter().any(|place| place == "the server") {
                    format!("{what} everywhere")
                } else {
                    format!("{what} in {}", some(&places))
                });
            }
        }
        beyond
    }
}

#[derive(Debug, Clone, Copy)]
struct Wanted {
    triggers: bool,
    routines: bool,
    events: bool,
}

/// The first names of a list.
fn some(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(3).map(|name| clean(name)).collect();
    if names.len() > 3 { format!("{} and {} more", shown.join(", "), names.len() - 3) } else { shown.join(", ") }
}

fn routine_privilege(server: &Server, scope: &Scope) -> String {
    match server.flavour {
        Flavour::MySql if server.version >= SHOW_ROUTINE => "SHOW_ROUTINE on *.*".into(),
        Flavour::MariaDb if server.version >= SHOW_CREATE_ROUTINE => match scope {
            Scope::One(name) => format!("SHOW CREATE ROUTINE on {}.*", ident(name)),
            Scope::All(_) => "SHOW CREATE ROUTINE on *.*".into(),
        },
        Flavour::MySql | Flavour::MariaDb => "SELECT on mysql.proc".into(),
    }
}

/// Statements that make an account which may read all that a backup needs and nothing else.
fn script(server: &Server, floats: bool, scope: &Scope) -> String {
    const USER: &str = "'dbsnap_backup'@'%'";
    let mut lines = vec![format!("CREATE USER {USER} IDENTIFIED BY 'CHANGE_ME';")];
    match scope {
        Scope::All(_) => lines.push(format!("GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, SHOW DATABASES ON *.* TO {USER};")),
        Scope::One(name) => {
            // A name in a grant is a pattern.
            let pattern = ident(&name.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%"));
            lines.push(format!("GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON {pattern}.* TO {USER};"));
            lines.push(match (server.flavour, routine_privilege(server, scope).as_str()) {
                (Flavour::MySql, "SHOW_ROUTINE on *.*") => format!("GRANT SHOW_ROUTINE ON *.* TO {USER};"),
                (_, "SELECT on mysql.proc") => format!("GRANT SELECT ON mysql.proc TO {USER};"),
                _ => format!("GRANT SHOW CREATE ROUTINE ON {pattern}.* TO {USER};"),
            });
        }
    }
    if floats {
        lines.push(format!(
            "-- Stops writes for a moment, so that FLOAT values are of the same instant as the rest:\nGRANT RELOAD ON *.* TO {USER};"
        ));
    }
    lines.join("\n")
}
