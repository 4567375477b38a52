//! What a server of the other flavour does not know, said as it knows it.

use std::{collections::BTreeSet, ops::Range};

use super::{
    token::{Token, Tokens, What},
    version::{Flavour, Version},
};

/// The server that runs a script.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    pub flavour: Flavour,
    pub version: Version,
}

impl Dialect {
    /// True for a statement that is nothing but a comment to this server.
    pub fn ignores(self, sql: &[u8]) -> bool {
        self.flavour == Flavour::MySql && sql.starts_with(b"/*M!") && memchr::memmem::find(sql, b"*/") == Some(sql.len() - 2)
    }

    /// Notes what must change in a statement: collations, modes that are gone, and the mode of the dump programs, in which
    /// dates such as February 31, which a table may hold, would be lost.
    pub fn translate(self, sql: &[u8], changes: &mut Vec<(Range<usize>, String)>, warnings: &mut BTreeSet<String>) {
        let foreign = match self.flavour {
            Flavour::MySql => memchr::memmem::find(sql, b"uca1400").or_else(|| memchr::memmem::find(sql, b"_nopad_")),
            Flavour::MariaDb => memchr::memmem::find(sql, b"_0900_"),
        };
        let dead_mode = self.flavour == Flavour::MySql
            && self.version >= Version::new(8, 0, 0)
            && memchr::memmem::find(sql, b"NO_AUTO_CREATE_USER").is_some();
        let loads = memchr::memmem::find(sql, b"'NO_AUTO_VALUE_ON_ZERO'").is_some();
        if foreign.is_none() && !dead_mode && !loads {
            return;
        }
        let sets = Tokens::new(sql).next().is_some_and(|first| first.is(sql, "set"));
        let mut before: Option<Token> = None;
        for token in Tokens::new(sql) {
            let text = token.text(sql);
            let follows = before.as_ref().is_some_and(|before| before.is(sql, "collate"));
            if token.what == What::Sign(b'=') {
                continue;
            }
            if foreign.is_some()
                && (follows || sets)
                && let Some(known) = self.collation(&text)
            {
                warnings.insert(format!("the collation {text} became {known}, because the server does not know it"));
                let quote = if token.what == What::Text { "'" } else { "" };
                changes.push((token.place.clone(), format!("{quote}{known}{quote}")));
            } else if dead_mode && sets && token.what == What::Text && text.contains("NO_AUTO_CREATE_USER") {
                let modes: Vec<&str> = text.split(',').filter(|mode| *mode != "NO_AUTO_CREATE_USER").collect();
                changes.push((token.place.clone(), format!("'{}'", modes.join(","))));
            } else if loads && sets && text == "NO_AUTO_VALUE_ON_ZERO" {
                changes.push((token.place.clone(), "'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'".into()));
            }
            before = Some(token);
        }
    }

    /// The nearest collation that the server has; `None` when it knows this one.
    pub fn collation(self, name: &str) -> Option<String> {
        let name = name.to_ascii_lowercase();
        let ending = ["_as_cs", "_as_ci", "_ai_cs", "_ai_ci"].into_iter().find(|ending| name.ends_with(ending)).unwrap_or("_ai_ci");
        match self.flavour {
            Flavour::MariaDb if name == "utf8mb4_0900_bin" => Some("utf8mb4_bin".into()),
            Flavour::MariaDb if name.contains("_0900_") && self.version < Version::new(11, 4, 5) => {
                Some(if self.version < Version::new(10, 10, 0) {
                    "utf8mb4_unicode_520_ci".into()
                } else {
                    format!("utf8mb4_uca1400{ending}")
                })
            }
            Flavour::MySql if name.contains("uca1400") => {
                let set = name.split_once('_').map(|(set, _)| set).filter(|set| !set.starts_with("uca1400")).unwrap_or("utf8mb4");
                Some(match (set, self.version >= Version::new(8, 0, 0)) {
                    // There is none that tells case and not accents apart.
                    ("utf8mb4", true) => format!("utf8mb4_0900{}", if ending == "_ai_cs" { "_as_cs" } else { ending }),
                    (set, _) => format!("{set}_unicode_520_ci"),
                })
            }
            Flavour::MySql if name.contains("_nopad_") => Some(name.replace("_nopad_", "_")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MYSQL: Dialect = Dialect { flavour: Flavour::MySql, version: Version::new(9, 7, 0) };
    const MARIADB: Dialect = Dialect { flavour: Flavour::MariaDb, version: Version::new(10, 11, 0) };

    fn check(dialect: Dialect, sql: &str, expect: &str) {
        let (mut changes, mut text) = (Vec::new(), sql.to_owned());
        dialect.translate(sql.as_bytes(), &mut changes, &mut BTreeSet::new());
        for (place, new) in changes.into_iter().rev() {
            text.replace_range(place, &new);
        }
        assert_eq!(text, expect);
    }

    #[test]
    fn what_a_server_does_not_know_is_said_as_it_knows_it() {
        check(
            MARIADB,
            "CREATE TABLE t (a text COLLATE utf8mb4_0900_as_cs DEFAULT 'utf8mb4_0900_ai_ci') COLLATE=utf8mb4_0900_bin",
            "CREATE TABLE t (a text COLLATE utf8mb4_uca1400_as_cs DEFAULT 'utf8mb4_0900_ai_ci') COLLATE=utf8mb4_bin",
        );
        check(MARIADB, "SET collation_connection = utf8mb4_0900_ai_ci", "SET collation_connection = utf8mb4_uca1400_ai_ci");
        check(MYSQL, "CREATE TABLE t (a text) COLLATE=utf8mb4_uca1400_ai_cs", "CREATE TABLE t (a text) COLLATE=utf8mb4_0900_as_cs");
        check(
            MYSQL,
            "/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */",
            "/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES' */",
        );
        check(MYSQL, "/*!50003 SET sql_mode = 'A,NO_AUTO_CREATE_USER,B' */", "/*!50003 SET sql_mode = 'A,B' */");
        check(MYSQL, "CREATE TABLE t (a text COLLATE utf8mb3_general_nopad_ci)", "CREATE TABLE t (a text COLLATE utf8mb3_general_ci)");
        assert!(
            MYSQL.ignores(b"/*M!100616 SET a=1 */") && !MYSQL.ignores(b"/*M!100616 a*/ b */") && !MARIADB.ignores(b"/*M!100616 SET a=1 */")
        );
    }
}
