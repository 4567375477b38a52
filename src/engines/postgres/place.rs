//! Whole databases on a server: created, built beside another, swapped, dropped.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, error::SqlState};

use super::{
    connect::{Target, failed, ident, literal},
    origin::Origin,
    tools::Version,
};
use crate::{
    domain::run::Run,
    error::{Error, Kind, Result},
};

/// How long sessions that were told to end may take.
const LEAVING: Duration = Duration::from_secs(15);
/// Pause between two looks at what sessions are left.
const LOOK: Duration = Duration::from_millis(100);

/// A server, seen from another database than the one that is being replaced.
pub struct Place {
    client: Client,
    version: Version,
}

impl Place {
    /// Connects to a database that is not `target`: the configured one, or one that every server has.
    pub async fn open(configured: &Target, target: &Target, run: &Run) -> Result<Self> {
        let mut candidates = vec![configured.database.as_str(), "postgres", "template1"];
        candidates.retain(|name| *name != target.database);
        let mut refusal = None;
        for name in candidates {
            match configured.with_database(name).connect(run).await {
                Ok(client) => {
                    let row = client.query_one("SELECT current_setting('server_version_num')::int", &[]).await;
                    let row = row.map_err(|cause| failed("reading the server's version", &cause))?;
                    let version = Version::from_number(u32::try_from(row.get::<_, i32>(0)).unwrap_or(0));
                    return Ok(Self { client, version });
                }
                Err(error) if error.is_cancelled() => return Err(error),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        Err(refusal.unwrap_or_else(|| Error::internal("no database to connect to")))
    }

    pub async fn exists(&self, name: &str) -> Result<bool> {
        let row = self.client.query_one("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", &[&name]).await;
        Ok(row.map_err(|cause| failed(format!("looking for database '{name}'"), &cause))?.get(0))
    }

    /// Creates an empty database with the encoding and locale that the dump was taken with, or as near as the server can.
    pub async fn create(&self, name: &str, origin: &Origin, warnings: &mut Vec<String>) -> Result<()> {
        let create = |options: &str| format!("CREATE DATABASE {} TEMPLATE template0{options}", ident(name));
        let exact = origin.creation(self.version);
        let first = match self.client.batch_execute(&create(&exact)).await {
            Ok(()) => return Ok(()),
            Err(cause) => cause,
        };
        let about_locale = first.code().is_some_and(|code| {
            [SqlState::WRONG_OBJECT_TYPE, SqlState::INVALID_PARAMETER_VALUE, SqlState::SYNTAX_ERROR, SqlState::UNDEFINED_OBJECT]
                .contains(code)
        });
        if about_locale && !exact.is_empty() {
            let nearest = origin.encoding().map(|encoding| format!(" ENCODING = {}", literal(encoding))).unwrap_or_default();
            if self.client.batch_execute(&create(&nearest)).await.is_ok() {
                warnings.push(format!(
                    "the database has the server's default locale, because it refused the original ({}): {first}",
                    exact.trim()
                ));
                return Ok(());
            }
        }
        let mut error = failed(format!("creating database '{name}'"), &first);
        Err(match first.code() {
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                error.hint("grant the user CREATEDB, or restore into an existing database")
            }
            Some(code) if *code == SqlState::DUPLICATE_DATABASE => {
                error.kind = Kind::Conflict;
                error.hint("choose another name, or the mode that replaces it")
            }
            _ => error,
        })
    }

    /// Drops a database that only we know of, whoever is still in it.
    pub async fn drop(&self, name: &str) -> Result<()> {
        self.end_sessions(name).await?;
        let deadline = Instant::now() + LEAVING;
        loop {
            match self.client.batch_execute(&format!("DROP DATABASE IF EXISTS {}", ident(name))).await {
                Ok(()) => return Ok(()),
                Err(cause) if in_use(&cause) && Instant::now() < deadline => {
                    self.end_sessions(name).await?;
                    tokio::time::sleep(LOOK).await;
                }
                Err(cause) => return Err(failed(format!("dropping database '{name}'"), &cause)),
            }
        }
    }

    /// Puts the database `built` in the place of `name`; the old one is dropped last. Until the rename, `name` is untouched.
    /// Errors with `Conflict` when others are connected to it and `end_connections` is false.
    pub async fn swap(&self, built: &str, name: &str, end_connections: bool, warnings: &mut Vec<String>) -> Result<()> {
        let old = spare_name(name, "old");
        self.copy_properties(name, built, warnings).await?;
        self.end_sessions(built).await?;
        if end_connections {
            self.execute(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", ident(name)), "closing the database to new sessions")
                .await?;
        }
        if let Err(error) = self.replace(built, name, &old, end_connections).await {
            if end_connections {
                self.execute(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", ident(name)), "opening the database again").await?;
            }
            return Err(error);
        }
        if let Err(error) = self.drop(&old).await {
            warnings.push(format!("the replaced database is left as '{old}': {error}"));
        }
        Ok(())
    }

    async fn replace(&self, built: &str, name: &str, old: &str, end_connections: bool) -> Result<()> {
        self.rename(name, old, end_connections).await?;
        if let Err(error) = self.rename(built, name, true).await {
            self.rename(old, name, true).await.map_err(|back| {
                Error::new(Kind::Restore, format!("{error}; and '{old}' could not be renamed back to '{name}': {back}")).hint(format!(
                    "rename it by hand: ALTER DATABASE {} RENAME TO {}",
                    ident(old),
                    ident(name)
                ))
            })?;
            return Err(error);
        }
        Ok(())
    }

    async fn rename(&self, from: &str, to: &str, end_connections: bool) -> Result<()> {
        let deadline = Instant::now() + if end_connections { LEAVING } else { Duration::from_secs(2) };
        loop {
            if end_connections {
                self.end_sessions(from).await?;
            }
            match self.client.batch_execute(&format!("ALTER DATABASE {} RENAME TO {}", ident(from), ident(to))).await {
                Ok(()) => return Ok(()),
                Err(cause) if in_use(&cause) && Instant::now() < deadline => tokio::time::sleep(LOOK).await,
                Err(cause) if in_use(&cause) => {
                    return Err(Error::conflict(format!("database '{from}' cannot be replaced: others are connected to it"))
                        .hint("close them, or let the restore end other connections"));
                }
                Err(cause) => return Err(failed(format!("renaming database '{from}'"), &cause)),
            }
        }
    }

    /// Ends every other session in a database. Those of superusers stay when the account is none.
    pub async fn end_sessions(&self, name: &str) -> Result<()> {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()";
        self.client.query(sql, &[&name]).await.map(drop).map_err(|cause| failed(format!("ending the sessions in '{name}'"), &cause))
    }

    /// What belongs to the database itself and is in no dump: owner, grants, settings, connection limit, comment.
    async fn copy_properties(&self, from: &str, to: &str, warnings: &mut Vec<String>) -> Result<()> {
        let statements = self.client.query(PROPERTIES, &[&from, &to]).await;
        let statements = statements.map_err(|cause| failed(format!("reading the properties of database '{from}'"), &cause))?;
        for statement in statements.iter().map(|row| row.get::<_, String>(0)) {
            if let Err(cause) = self.client.batch_execute(&statement).await {
                warnings.push(failed(format!("'{statement}' could not be kept"), &cause).to_string());
            }
        }
        Ok(())
    }

    async fn execute(&self, sql: &str, doing: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(|cause| failed(doing, &cause))
    }
}

/// A statement for each property of database $1, for database $2.
const PROPERTIES: &str = "
    SELECT format('ALTER DATABASE %I OWNER TO %I', $2::text, pg_get_userbyid(datdba)) FROM pg_database WHERE datname = $1
    UNION ALL
    SELECT format('ALTER DATABASE %I CONNECTION LIMIT %s', $2, datconnlimit) FROM pg_database WHERE datname = $1 AND datconnlimit <> -1
    UNION ALL
    SELECT format('COMMENT ON DATABASE %I IS %L', $2, shobj_description(oid, 'pg_database')) FROM pg_database
     WHERE datname = $1 AND shobj_description(oid, 'pg_database') IS NOT NULL
    UNION ALL
    SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', $2) FROM pg_database WHERE datname = $1 AND datacl IS NOT NULL
    UNION ALL
    SELECT format('GRANT %s ON DATABASE %I TO %s%s', a.privilege_type, $2,
                  CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                  CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
      FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = $1 AND a.grantee <> d.datdba
    UNION ALL
    SELECT format(CASE s.setrole WHEN 0 THEN 'ALTER DATABASE %2$I SET %3$s TO %4$s' ELSE 'ALTER ROLE %1$I IN DATABASE %2$I SET %3$s TO %4$s' END,
                  pg_get_userbyid(s.setrole), $2, quote_ident(split_part(c, '=', 1)),
                  CASE WHEN split_part(c, '=', 1) IN ('search_path', 'DateStyle', 'local_preload_libraries', 'session_preload_libraries',
                                                      'temp_tablespaces', 'unix_socket_directories')
                       THEN substr(c, strpos(c, '=') + 1) ELSE quote_literal(substr(c, strpos(c, '=') + 1)) END)
      FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c WHERE d.datname = $1";

fn in_use(cause: &tokio_postgres::Error) -> bool {
    cause.code() == Some(&SqlState::OBJECT_IN_USE)
}

/// A name beside `name` that nothing else has, within the 63 bytes of an identifier.
pub fn spare_name(name: &str, purpose: &str) -> String {
    let suffix = format!("_dbsnap_{purpose}_{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let mut kept = 63 - suffix.len();
    while !name.is_char_boundary(kept.min(name.len())) {
        kept -= 1;
    }
    format!("{}{suffix}", &name[..kept.min(name.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spare_name_is_short_enough_and_cut_between_characters() {
        for name in ["shop", "🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘", &"x".repeat(63)] {
            let spare = spare_name(name, "new");
            assert!(spare.len() <= 63 && spare != spare_name(name, "new"), "{spare}");
        }
    }
}
