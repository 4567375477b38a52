//! What dump options mean to mysqldump and mariadb-dump, flavour by flavour.

use super::{
    patterns::Choice,
    server::Server,
    tools::Tool,
    version::{Flavour, Version},
};
use crate::{
    domain::{database::Settings, fields::SettingsExt},
    error::{Error, Result},
};

/// The first release of mysqldump that writes GTIDs as a comment.
const COMMENTED: Version = Version::new(8, 0, 17);

/// A program, the server it is for, and the options of the dump.
pub struct Arguments<'a> {
    pub tool: &'a Tool,
    pub server: &'a Server,
    pub options: &'a Settings,
    pub choice: &'a Choice,
}

impl Arguments<'_> {
    /// Errors on options that contradict each other or that the program does not have.
    pub fn check(&self) -> Result<()> {
        if self.options.flag("schemaOnly") && self.options.flag("dataOnly") {
            return Err(Error::validation("a dump cannot be both schema only and data only").hint("choose one, or none for both"));
        }
        let gtid = self.gtid();
        if gtid != "off" && self.tool.flavour != self.server.flavour {
            return Err(Error::validation(format!("{} cannot write the transaction ids of {}", self.tool, self.server))
                .hint(format!("install the client programs of {}, or set the option gtid to off", self.server.flavour.as_str())));
        }
        if gtid == "comment" && self.tool.flavour == Flavour::MySql && self.tool.version < COMMENTED {
            return Err(Error::validation(format!("{} cannot write transaction ids as a comment", self.tool))
                .hint(format!("install mysqldump {COMMENTED} or newer, or set the option gtid to on or off")));
        }
        Ok(())
    }

    fn gtid(&self) -> &str {
        self.options.text("gtid").unwrap_or("off")
    }

    fn wants(&self, name: &str) -> bool {
        self.options.get(name).is_none_or(|value| value.as_bool() != Some(false))
    }

    pub fn data_only(&self) -> bool {
        self.options.flag("dataOnly")
    }

    /// What must stand before the first statement, where the restored server is to have no transaction ids of its own.
    pub fn without_binary_log(&self) -> &'static str {
        if self.tool.flavour == Flavour::MySql && self.gtid() == "on" { "SET @@SESSION.SQL_LOG_BIN= 0;\n" } else { "" }
    }

    /// Triggers belong to the dump.
    pub fn triggers(&self) -> bool {
        self.wants("triggers") && !self.options.flag("dataOnly")
    }

    /// Routines belong to the dump.
    pub fn routines(&self) -> bool {
        self.wants("routines") && !self.options.flag("dataOnly") && !self.choice.only_tables()
    }

    /// Events belong to the dump.
    pub fn events(&self) -> bool {
        self.wants("events") && !self.options.flag("dataOnly") && !self.choice.only_tables()
    }

    /// For every run of the program.
    fn common(&self) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["--quick", "--extended-insert", "--hex-blob", "--no-tablespaces", "--skip-lock-tables", "--skip-add-locks"]
                .map(str::to_owned)
                .into();
        // Before 8.0 there is no table of histograms to ask; mysqldump 5.7 does not know the option.
        let no_histograms = self.server.flavour == Flavour::MariaDb || self.server.version.major < 8;
        if self.tool.flavour == Flavour::MySql && no_histograms && self.tool.version.major >= 8 {
            arguments.push("--column-statistics=0".to_owned());
        }
        arguments
    }

    /// For the dump itself.
    pub fn whole(&self) -> Vec<String> {
        let mut arguments = self.common();
        arguments.extend(["--single-transaction", "--comments", "--dump-date"].map(str::to_owned));
        let either = |on: bool, with: &str, without: &str| if on { with.to_owned() } else { without.to_owned() };
        arguments.push(either(self.triggers(), "--triggers", "--skip-triggers"));
        arguments.push(either(self.routines(), "--routines", "--skip-routines"));
        arguments.push(either(self.events(), "--events", "--skip-events"));
        if self.options.flag("schemaOnly") {
            arguments.push("--no-data".into());
        }
        if self.options.flag("dataOnly") {
            arguments.extend(["--no-create-info".to_owned(), "--no-create-db".to_owned()]);
        }
        arguments.extend(match (self.tool.flavour, self.gtid()) {
            (Flavour::MySql, "on") => vec!["--set-gtid-purged=ON".to_owned()],
            (Flavour::MySql, "comment") => vec!["--set-gtid-purged=COMMENTED".to_owned()],
            (Flavour::MySql, _) => vec!["--set-gtid-purged=OFF".to_owned()],
            (Flavour::MariaDb, "on") => vec!["--gtid".to_owned(), "--master-data=1".to_owned()],
            (Flavour::MariaDb, "comment") => vec!["--gtid".to_owned(), "--master-data=2".to_owned()],
            (Flavour::MariaDb, _) => Vec::new(),
        });
        arguments
    }

    /// For the definitions of some tables alone, or for their triggers alone; no comment and no end mark is written.
    pub fn part(&self, part: Part) -> Vec<String> {
        let mut arguments = self.common();
        arguments.extend(["--skip-comments", "--no-data", "--skip-routines", "--skip-events"].map(str::to_owned));
        arguments.extend(match part {
            Part::Definitions => vec!["--skip-triggers".to_owned()],
            Part::Triggers => vec!["--triggers".to_owned(), "--no-create-info".to_owned()],
        });
        if self.tool.flavour == Flavour::MySql {
            arguments.push("--set-gtid-purged=OFF".into());
        }
        arguments
    }
}

/// What is written of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Definitions,
    Triggers,
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::{Value, json};

    use super::*;

    fn arguments(tool: (Flavour, u32), server: (Flavour, u32), options: &Value) -> Result<Vec<String>> {
        let tool = Tool { name: "mysqldump", path: PathBuf::new(), flavour: tool.0, version: Version::new(tool.1, 0, 0) };
        let server = Server::of(server.0, Version::new(server.1, 0, 0));
        let options = options.as_object().unwrap();
        let arguments = Arguments { tool: &tool, server: &server, options, choice: &Choice::of(options) };
        arguments.check().map(|()| arguments.whole())
    }

    #[test]
    fn options_are_adapted_to_program_and_server() {
        use Flavour::{MariaDb, MySql};
        let check = |tool, server, options: Value, with: &[&str], without: &[&str]| {
            let arguments = arguments(tool, server, &options).unwrap();
            let has = |name: &str| arguments.iter().any(|argument| argument.starts_with(name));
            assert!(with.iter().all(|name| has(name)) && !without.iter().any(|name| has(name)), "{options}: {arguments:?}");
        };
        check((MySql, 9), (MySql, 9), json!({}), &["--set-gtid-purged=OFF", "--routines", "--hex-blob"], &["--column-statistics"]);
        check((MySql, 9), (MariaDb, 10), json!({}), &["--column-statistics=0", "--set-gtid-purged=OFF"], &[]);
        check((MySql, 8), (MySql, 5), json!({}), &["--column-statistics=0"], &[]);
        check((MySql, 5), (MySql, 5), json!({}), &["--set-gtid-purged=OFF"], &["--column-statistics"]);
        check((MariaDb, 10), (MariaDb, 10), json!({}), &[], &["--set-gtid-purged", "--column-statistics", "--gtid"]);
        check((MariaDb, 10), (MariaDb, 10), json!({"gtid": "comment"}), &["--gtid", "--master-data=2"], &[]);
        check((MySql, 9), (MySql, 9), json!({"gtid": "on"}), &["--set-gtid-purged=ON"], &[]);
        check((MySql, 9), (MySql, 9), json!({"schemaOnly": true, "events": false}), &["--no-data", "--skip-events"], &["--events"]);
        check((MySql, 9), (MySql, 9), json!({"dataOnly": true}), &["--no-create-info", "--skip-triggers", "--skip-routines"], &[]);
        check((MySql, 9), (MySql, 9), json!({"includeTables": ["a"]}), &["--skip-routines", "--skip-events", "--triggers"], &[]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        use Flavour::{MariaDb, MySql};
        assert!(arguments((MySql, 9), (MySql, 9), &json!({"schemaOnly": true, "dataOnly": true})).is_err());
        assert!(arguments((MariaDb, 10), (MySql, 9), &json!({"gtid": "on"})).is_err());
        assert!(arguments((MySql, 8), (MySql, 8), &json!({"gtid": "comment"})).is_err());
    }
}
