//! A connection whose statement ends with it, and the one moment of the database that it stands in.

use std::{
    ops::Deref,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::task::AbortHandle;
use tokio_postgres::{Client, NoTls, error::SqlState};

use super::{
    catalog::quoted,
    connect::{Target, failed},
    scope::Scope,
    watch::seconds,
};
use crate::{
    domain::{database::Settings, run::Run},
    error::{Error, Result},
    snapshot::TableName,
};

/// How values are written, whatever the server, the database and the account say; and a policy that would hide rows is an
/// error.
pub const PIN: &str = "SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 3; SET TimeZone = 'UTC';
    SET bytea_output = 'hex'; SET client_encoding = 'UTF8'; SET row_security = off; SET lc_monetary = 'C'; SET xmloption = 'content';
    SET search_path = pg_catalog";

/// How often tables are locked anew because others came between.
const TRIES: usize = 5;

/// An open connection.
pub struct Session {
    client: Client,
    connection: AbortHandle,
    target: Target,
    /// A statement runs that the server would not notice the end of the connection in.
    busy: AtomicBool,
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Session {
    pub async fn open(target: &Target, run: &Run) -> Result<Self> {
        let (client, connection) = target.connect_held(run).await?;
        Ok(Self { client, connection, target: target.clone(), busy: AtomicBool::new(false) })
    }

    /// Runs `work` on this connection; on a cancel, what the server does for it is ended before this returns.
    pub async fn work<T>(&self, run: &Run, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.busy.store(true, Ordering::Relaxed);
        let done = run.until_cancelled(work).await;
        if done.as_ref().is_err_and(Error::is_cancelled) {
            self.stop().await;
        }
        self.busy.store(false, Ordering::Relaxed);
        done
    }

    /// Ends the running statement.
    async fn stop(&self) {
        let ending = self.client.cancel_token();
        // Best effort: the connection ends with this value anyway, and the server sees that when it next writes.
        let _ = tokio::time::timeout(Duration::from_secs(5), ending.cancel_query(NoTls)).await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let (token, connection, target) = (self.client.cancel_token(), self.connection.clone(), self.target.clone());
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if self.busy.load(Ordering::Relaxed) => {
                runtime.spawn(async move {
                    let _ = tokio::time::timeout(Duration::from_secs(5), token.cancel_query(NoTls)).await;
                    connection.abort();
                    drop(target);
                });
            }
            _ => connection.abort(),
        }
    }
}

/// Opens a read-only moment: first the locks that keep the tables in scope from being altered, emptied or dropped, then,
/// with the first query that follows, the moment itself.
pub async fn begin(client: &Client, options: &Settings) -> Result<()> {
    let limits = format!("SET lock_timeout = {}; SET statement_timeout = 0", millis(options, "lockTimeoutSeconds"));
    client.batch_execute(&limits).await.map_err(|cause| failed("setting time limits", &cause))?;
    for attempt in 1.. {
        let known = in_scope(client, options).await?;
        let opened = async {
            client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
            for some in known.chunks(500) {
                let names: Vec<String> = some.iter().map(|(_, name)| format!("ONLY {}", quoted(name))).collect();
                client.batch_execute(&format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "))).await?;
            }
            Ok(())
        };
        let locked: std::result::Result<(), tokio_postgres::Error> = opened.await;
        // A table that was dropped meanwhile is no longer in scope.
        let gone = |cause: &tokio_postgres::Error| {
            [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME].iter().any(|code| cause.code() == Some(code)) && attempt < TRIES
        };
        match locked {
            Err(cause) if !gone(&cause) => return Err(limited(failed("locking the tables for reading", &cause), &cause)),
            Err(_) => {}
            Ok(()) if attempt >= TRIES || read_scope(client, options).await? == known => return Ok(()),
            Ok(()) => {}
        }
        client.batch_execute("ROLLBACK").await.map_err(|cause| failed("locking the tables anew", &cause))?;
    }
    Ok(())
}

async fn in_scope(client: &Client, options: &Settings) -> Result<Vec<(u32, TableName)>> {
    let ended = |cause| failed("looking at the tables", &cause);
    client.batch_execute("BEGIN READ ONLY").await.map_err(ended)?;
    let known = read_scope(client, options).await?;
    client.batch_execute("COMMIT").await.map_err(ended)?;
    Ok(known)
}

/// Tables that rows are read of.
async fn read_scope(client: &Client, options: &Settings) -> Result<Vec<(u32, TableName)>> {
    let scope = Scope::read(client, options).await?;
    let sql = "SELECT c.oid, n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
                  AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e')
                ORDER BY c.oid";
    let rows = client.query(sql, &[]).await.map_err(|cause| failed("looking at the tables", &cause))?;
    let chosen = rows.iter().filter(|row| scope.has_relation(row.get(0)));
    Ok(chosen.map(|row| (row.get(0), TableName { schema: row.get(1), name: row.get(2) })).collect())
}

/// A time limit as the server takes it: 0 for none.
pub fn millis(options: &Settings, name: &str) -> u128 {
    // The server's settings are 32-bit numbers.
    seconds(options, name).map_or(0, |limit| limit.as_millis().min(i32::MAX as u128))
}

/// The error of a statement that a time limit ended says what to do.
pub fn limited(error: Error, cause: &tokio_postgres::Error) -> Error {
    let Some(server) = cause.as_db_error() else { return error };
    if *server.code() == SqlState::LOCK_NOT_AVAILABLE {
        error.hint("another session holds the lock: end it, or raise the lock timeout").retryable()
    } else if *server.code() == SqlState::QUERY_CANCELED && server.message().contains("statement timeout") {
        error.hint("raise the statement timeout, or look for what slows the server down")
    } else {
        error
    }
}
