//! Whole databases on a server: looked for, created, dropped.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, error::SqlState};

use super::{
    connect::{Target, failed, ident, literal},
    origin::Origin,
    tools::Version,
};
use crate::{
    domain::{run::Run, time::Moment},
    error::{Error, Kind, Result},
};

/// How long sessions that were told to end may take.
const LEAVING: Duration = Duration::from_secs(15);
/// Pause between two looks at what sessions are left.
const LOOK: Duration = Duration::from_millis(100);
/// Random digits in a spare name.
const RANDOM: usize = 8;
/// How the comment of a database begins that is being built beside another.
const HALF_BUILT: &str = "dbsnap: half-built by a restore";

/// A server, seen from another database than the one that is being replaced.
pub struct Place {
    seen_from: Target,
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
            let seen_from = configured.with_database(name)?;
            match seen_from.connect(run).await {
                Ok(client) => {
                    let row = client.query_one("SELECT current_setting('server_version_num')::int", &[]).await;
                    let row = row.map_err(|cause| failed("reading the server's version", &cause))?;
                    let version = Version::from_number(u32::try_from(row.get::<_, i32>(0)).unwrap_or(0));
                    return Ok(Self { seen_from, client, version });
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
    pub async fn drop_database(&self, name: &str) -> Result<()> {
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

    /// Says of a database beside `name` what it is, for whoever finds it after this process was killed.
    pub async fn mark_half_built(&self, built: &str, name: &str) -> Result<()> {
        let comment = format!("{HALF_BUILT} of '{name}' that began at {}", Moment::now());
        let sql = format!("COMMENT ON DATABASE {} IS {}", ident(built), literal(&comment));
        self.client.batch_execute(&sql).await.map_err(|cause| failed(format!("describing database '{built}'"), &cause))
    }

    /// A warning for each half-built database beside `name` that nobody is connected to: a process was killed there.
    pub async fn leftovers(&self, name: &str) -> Result<Vec<String>> {
        let sql = "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database d
                    WHERE starts_with(shobj_description(oid, 'pg_database'), $1)
                      AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid) ORDER BY 1";
        let rows = self.client.query(sql, &[&HALF_BUILT]).await;
        let rows = rows.map_err(|cause| failed(format!("looking for half-built databases beside '{name}'"), &cause))?;
        let found = rows.iter().map(|row| (row.get::<_, String>(0), row.get::<_, String>(1)));
        let warning = |(left, comment): (String, String)| {
            format!("database '{left}' is left of a restore that was killed ({comment}): DROP DATABASE {};", ident(&left))
        };
        Ok(found.filter(|(left, _)| is_beside(left, name)).map(warning).collect())
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub async fn another_connection(&self, run: &Run) -> Result<Client> {
        self.seen_from.connect(run).await
    }

    /// Ends every other session in a database. Those of superusers stay when the account is none.
    pub async fn end_sessions(&self, name: &str) -> Result<()> {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()";
        self.client.query(sql, &[&name]).await.map(drop).map_err(|cause| failed(format!("ending the sessions in '{name}'"), &cause))
    }
}

fn in_use(cause: &tokio_postgres::Error) -> bool {
    cause.code() == Some(&SqlState::OBJECT_IN_USE)
}

/// A name beside `name` that nothing else has, within the 63 bytes of an identifier.
pub fn spare_name(name: &str, purpose: &str) -> String {
    let suffix = format!("_dbsnap_{purpose}_{}", &uuid::Uuid::new_v4().simple().to_string()[..RANDOM]);
    format!("{}{suffix}", beginning(name, suffix.len()))
}

/// True for a name that `spare_name` may have made for a database to be built beside `name`.
fn is_beside(spare: &str, name: &str) -> bool {
    let before = "_dbsnap_new_";
    let random = spare.strip_prefix(beginning(name, before.len() + RANDOM)).and_then(|rest| rest.strip_prefix(before));
    random.is_some_and(|random| random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What of a name fits before a suffix of this many bytes.
fn beginning(name: &str, suffix: usize) -> &str {
    &name[..name.floor_char_boundary(63 - suffix)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spare_name_is_short_enough_and_cut_between_characters() {
        for name in ["shop", "🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘🐘", &"x".repeat(63)] {
            let spare = spare_name(name, "new");
            assert!(spare.len() <= 63 && spare != spare_name(name, "new"), "{spare}");
            assert!(is_beside(&spare, name) && !is_beside(&spare, "shops") && !is_beside(name, name), "{spare}");
            assert!(!is_beside(&spare_name(name, "old"), name));
        }
    }
}
