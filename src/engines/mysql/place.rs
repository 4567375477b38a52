//! Whole databases on a server: looked for, created, dropped, and the sessions in them.

use mysql_async::{Conn, Error as DriverError, prelude::Queryable as _};

use super::{
    connect::{Target, failed, ident, literal},
    contents::is_system,
    dialect::Dialect,
    token::{Tokens, What},
};
use crate::{
    domain::run::Run,
    error::{Error, Kind, Result},
};

/// Random digits in a spare name.
const RANDOM: usize = 8;
/// Longest name, characters.
const LONGEST: usize = 64;

/// A server, seen from no database.
pub struct Place {
    pub target: Target,
    connection: Conn,
}

impl Place {
    pub async fn open(target: &Target, run: &Run) -> Result<Self> {
        Ok(Self { target: target.clone(), connection: target.connect_to_server(run).await? })
    }

    pub async fn execute(&mut self, sql: &str, doing: impl Into<String>) -> Result<()> {
        self.connection.query_drop(sql).await.map_err(|cause| self.target.explain(failed(doing, cause)))
    }

    pub async fn texts(&mut self, sql: &str, doing: impl Into<String>) -> Result<Vec<String>> {
        self.connection.query(sql).await.map_err(|cause| self.target.explain(failed(doing, cause)))
    }

    pub fn connection(&mut self) -> &mut Conn {
        &mut self.connection
    }

    pub async fn exists(&mut self, name: &str) -> Result<bool> {
        let sql = format!("SELECT schema_name FROM information_schema.schemata WHERE schema_name = {}", literal(name));
        Ok(!self.texts(&sql, format!("looking for database '{name}'")).await?.is_empty())
    }

    /// Creates an empty database with the character set and collation that the dump's CREATE DATABASE names, or as near
    /// as the server can.
    pub async fn create(&mut self, name: &str, properties: Option<&str>, dialect: Dialect, warnings: &mut Vec<String>) -> Result<()> {
        let doing = format!("creating database '{name}'");
        let plain = format!("CREATE DATABASE {}", ident(name));
        let wanted = properties.map(|properties| character_set(properties, dialect)).unwrap_or_default();
        let Err(cause) = self.connection.query_drop(format!("{plain}{wanted}")).await else { return Ok(()) };
        let code = code(&cause);
        if !wanted.is_empty() && matches!(code, Some(1115 | 1253 | 1273)) {
            warnings.push(format!("database '{name}' has the server's own collation, because it does not know the original:{wanted}"));
            return self.execute(&plain, doing).await;
        }
        let mut error = self.target.explain(failed(doing, cause));
        Err(match code {
            Some(1044 | 1227) => error.hint("grant the user the right CREATE on it, or restore into an existing database"),
            Some(1007) => {
                error.kind = Kind::Conflict;
                error.hint("choose another name, or the mode that replaces it")
            }
            _ => error,
        })
    }

    pub async fn drop_database(&mut self, name: &str) -> Result<()> {
        // Whoever else has a foreign key into it keeps a dangling one; nobody has into those that we made.
        self.execute("SET SESSION foreign_key_checks = 0", "preparing to drop a database").await?;
        self.execute(&format!("DROP DATABASE IF EXISTS {}", ident(name)), format!("dropping database '{name}'")).await
    }

    /// Ends every session that is in a database, but for this one and the one with the number `own`.
    pub async fn end_sessions(&mut self, name: &str, own: u64) -> Result<()> {
        let sql =
            format!("SELECT id FROM information_schema.processlist WHERE db = {} AND id NOT IN (CONNECTION_ID(), {own})", literal(name));
        let sessions: Vec<u64> =
            self.connection.query(sql).await.map_err(|cause| failed(format!("looking for the sessions in '{name}'"), cause))?;
        for session in sessions {
            match self.connection.query_drop(format!("KILL {session}")).await {
                Ok(()) => {}
                // It is gone.
                Err(cause) if code(&cause) == Some(1094) => {}
                Err(cause) => return Err(failed(format!("ending session {session} in '{name}'"), cause)),
            }
        }
        Ok(())
    }

    /// A warning for each database beside `name` that a killed restore left, where nobody is in it.
    pub async fn leftovers(&mut self, name: &str) -> Result<Vec<String>> {
        let sql = "SELECT schema_name FROM information_schema.schemata s
            WHERE schema_name LIKE '%|_dbsnap|_%' ESCAPE '|'
              AND NOT EXISTS (SELECT 1 FROM information_schema.processlist p WHERE p.db = s.schema_name) ORDER BY 1";
        let found = self.texts(sql, format!("looking for databases left beside '{name}'")).await?;
        let told = |left: String| {
            if is_beside(&left, name, "new") {
                Some(format!("database '{left}' is left of a restore that was killed: DROP DATABASE {};", ident(&left)))
            } else if is_beside(&left, name, "old") {
                Some(format!(
                    "database '{left}' holds what a killed restore was replacing in '{name}': its tables, and in its table dbsnap_definitions \
                     the statements for the rest. Move back what is missing, then DROP DATABASE {};",
                    ident(&left)
                ))
            } else {
                None
            }
        };
        Ok(found.into_iter().filter_map(told).collect())
    }
}

/// The number of a server's error.
pub fn code(cause: &DriverError) -> Option<u16> {
    match cause {
        DriverError::Server(server) => Some(server.code),
        _ => None,
    }
}

/// ` CHARACTER SET x COLLATE y` from what stands after the name in CREATE DATABASE, and nothing else of it.
fn character_set(properties: &str, dialect: Dialect) -> String {
    let sql = properties.as_bytes();
    let mut wanted = String::new();
    let mut before = String::new();
    for token in Tokens::new(sql) {
        let text = token.text(sql);
        let word = text.to_ascii_lowercase();
        if token.what == What::Sign(b'=') {
            continue;
        }
        let plain = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match before.as_str() {
            "set" | "charset" if plain => wanted += &format!(" CHARACTER SET {word}"),
            "collate" if plain => wanted += &format!(" COLLATE {}", dialect.collation(&word).unwrap_or(word.clone())),
            _ => {}
        }
        before = word;
    }
    wanted
}

/// A name beside `name` that nothing else has.
pub fn spare_name(name: &str, purpose: &str) -> String {
    let suffix = format!("_dbsnap_{purpose}_{}", &uuid::Uuid::new_v4().simple().to_string()[..RANDOM]);
    format!("{}{suffix}", beginning(name, suffix.len()))
}

/// True for a name that `spare_name` may have made.
fn is_beside(spare: &str, name: &str, purpose: &str) -> bool {
    let before = format!("_dbsnap_{purpose}_");
    let random = spare.strip_prefix(&beginning(name, before.len() + RANDOM)).and_then(|rest| rest.strip_prefix(&before));
    random.is_some_and(|random| random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What of a name fits before a suffix of this many characters.
fn beginning(name: &str, suffix: usize) -> String {
    name.chars().take(LONGEST - suffix).collect()
}

/// Errors for databases that belong to the server.
pub fn refuse_system(name: &str) -> Result<()> {
    if !is_system(name) {
        return Ok(());
    }
    Err(Error::validation(format!("'{name}' is a database of the server's own: nothing is restored into it")).hint("choose another name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::mysql::version::{Flavour, Version};

    #[test]
    fn a_spare_name_is_short_enough_and_known_again() {
        for name in
            ["shop", "🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘", &"x".repeat(64)]
        {
            let spare = spare_name(name, "new");
            assert!(spare.chars().count() <= 64 && spare != spare_name(name, "new"), "{spare}");
            assert!(is_beside(&spare, name, "new") && !is_beside(&spare, "shops", "new") && !is_beside(&spare, name, "old"), "{spare}");
        }
    }

    #[test]
    fn nothing_but_character_set_and_collation_is_taken_over() {
        let dialect = Dialect { flavour: Flavour::MariaDb, version: Version::new(10, 11, 0) };
        let properties = " /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci */ /*!80016 DEFAULT ENCRYPTION='N' */";
        assert_eq!(character_set(properties, dialect), " CHARACTER SET utf8mb4 COLLATE utf8mb4_uca1400_ai_ci");
        assert_eq!(character_set(" CHARSET = latin1 COMMENT 'x'", dialect), " CHARACTER SET latin1");
        assert_eq!(character_set(" CHARACTER SET 'a; DROP'", dialect), "");
    }
}
