//! A database that was built beside another takes its place, in one transaction: its name is never without a database.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_postgres::{Client, error::SqlState};

use super::{
    connect::{failed, ident},
    place::{Place, spare_name},
};
use crate::{
    domain::run::Run,
    error::{Context, Error, Kind, Result},
};

/// How long sessions that were told to end may take.
const LEAVING: Duration = Duration::from_secs(15);
/// Pause between two rounds of ending sessions.
const LOOK: Duration = Duration::from_millis(100);

/// Two databases that are to change places.
pub struct Swap {
    place: Arc<Place>,
    /// Ends the sessions in the old database; `None` leaves them alone.
    ender: Option<Client>,
    built: String,
    name: String,
}

impl Swap {
    /// The database `built` is to be called `name`, and the one called so now is to go.
    pub async fn prepare(place: Arc<Place>, built: &str, name: &str, end_connections: bool, run: &Run) -> Result<Self> {
        let ender = if end_connections { Some(place.another_connection(run).await?) } else { None };
        Ok(Self { place, ender, built: built.to_owned(), name: name.to_owned() })
    }

    /// Does it; returns warnings. Once begun it goes on to its end, also when the caller is dropped. On an error both
    /// databases are as they were. Errors with `Conflict` when others stay connected to the old one.
    pub async fn carry_out(self) -> Result<Vec<String>> {
        tokio::spawn(self.run_to_its_end()).await.context(Kind::Internal, || "putting a database in another's place".to_owned())?
    }

    async fn run_to_its_end(self) -> Result<Vec<String>> {
        let mut warnings = self.copy_properties().await?;
        let old = spare_name(&self.name, "old");
        self.exchange(&old).await?;
        if let Err(error) = self.place.drop_database(&old).await {
            warnings.push(format!("the replaced database is left as '{old}': {error}"));
        }
        Ok(warnings)
    }

    async fn exchange(&self, old: &str) -> Result<()> {
        let doing = || format!("putting '{}' in the place of '{}'", self.built, self.name);
        let sql = "SELECT oid, quote_nullable(shobj_description(oid, 'pg_database')) FROM pg_database WHERE datname = $1";
        let row = self.place.client().query_one(sql, &[&self.name]).await.map_err(|cause| failed(doing(), &cause))?;
        let (oid, comment): (u32, String) = (row.get(0), row.get(1));
        let (built, name) = (ident(&self.built), ident(&self.name));
        let sql = format!(
            "BEGIN; COMMENT ON DATABASE {built} IS {comment};
             ALTER DATABASE {name} RENAME TO {}; ALTER DATABASE {built} RENAME TO {name}; COMMIT",
            ident(old)
        );
        let deadline = Instant::now() + LEAVING;
        loop {
            self.place.end_sessions(&self.built).await?;
            let (done, refusal) = self.attempt(&sql, oid).await;
            let Err(cause) = done else { return Ok(()) };
            let error = failed(doing(), &cause);
            if cause.as_db_error().is_none() {
                return Err(error.hint(format!("see on the server whether it was done: then the replaced database is called '{old}'")));
            }
            let rollback = self.place.client().batch_execute("ROLLBACK").await;
            rollback.map_err(|cause| failed(format!("{error}; and going back"), &cause))?;
            if cause.code() != Some(&SqlState::OBJECT_IN_USE) {
                return Err(error);
            }
            if self.ender.is_none() || refusal.is_some() || Instant::now() > deadline {
                let why = refusal.map(|refusal| format!(" ({refusal})")).unwrap_or_default();
                return Err(Error::conflict(format!("database '{}' cannot be replaced: others are connected to it{why}", self.name))
                    .hint("close them, or let the restore end other connections"));
            }
        }
    }

    /// Tries once. The server itself waits 5 s for the sessions in a database to end before it refuses to rename it, and
    /// lets nobody new in meanwhile: so those that were there are ended while it waits. Also returns why they could not be.
    async fn attempt(&self, sql: &str, old: u32) -> (Result<(), tokio_postgres::Error>, Option<Error>) {
        let renaming = self.place.client().batch_execute(sql);
        let Some(ender) = &self.ender else { return (renaming.await, None) };
        let ending = async {
            loop {
                // By number: the name soon belongs to the new database, whose sessions stay.
                if let Err(cause) = ender.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datid = $1", &[&old]).await {
                    return failed("ending the sessions in it", &cause);
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::pin!(renaming);
        tokio::select! {
            biased;
            done = &mut renaming => (done, None),
            refusal = ending => (renaming.await, Some(refusal)),
        }
    }

    /// What belongs to the database itself and is in no dump: owner, grants, settings, connection limit. Its comment
    /// follows in the exchange. Returns warnings.
    async fn copy_properties(&self) -> Result<Vec<String>> {
        let statements = self.place.client().query(PROPERTIES, &[&self.name, &self.built]).await;
        let statements = statements.map_err(|cause| failed(format!("reading the properties of database '{}'", self.name), &cause))?;
        let mut warnings = Vec::new();
        for statement in statements.iter().map(|row| row.get::<_, String>(0)) {
            if let Err(cause) = self.place.client().batch_execute(&statement).await {
                warnings.push(failed(format!("'{statement}' could not be kept"), &cause).to_string());
            }
        }
        Ok(warnings)
    }
}

/// A statement for each property of database $1, for database $2.
const PROPERTIES: &str = "
    SELECT format('ALTER DATABASE %I OWNER TO %I', $2::text, pg_get_userbyid(datdba)) FROM pg_database WHERE datname = $1
    UNION ALL
    SELECT format('ALTER DATABASE %I CONNECTION LIMIT %s', $2, datconnlimit) FROM pg_database WHERE datname = $1 AND datconnlimit <> -1
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
