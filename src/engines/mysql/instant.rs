//! The same instant for two readers: our own and the dump program's, each in a snapshot of its own.
//!
//! Writes stand still while both snapshots begin, under FLUSH TABLES WITH READ LOCK, for some seconds at most. Where the
//! account or the server refuses that, the dump goes on without and says so.

use std::time::Duration;

use mysql_async::{Conn, prelude::Queryable as _};

use super::{
    connect::{Target, failed},
    record::record,
};
use crate::{domain::run::Run, error::Result};

/// The longest wait for the lock, and the longest hold of it.
pub const LIMIT: Duration = Duration::from_secs(5);

/// Begins a snapshot that lasts as long as the connection.
pub async fn begin(reader: &mut Conn, target: &Target) -> Result<()> {
    for sql in ["SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"] {
        reader.query_drop(sql).await.map_err(|cause| target.explain(failed(format!("opening a snapshot of {}", target.address), cause)))?;
    }
    Ok(())
}

/// Stops the writes of the whole server. `Err` holds why they could not be stopped.
pub async fn hold(control: &mut Conn, run: &Run) -> Result<Result<(), String>> {
    let locking = async {
        let limit = LIMIT.as_secs();
        // A wait behind a long statement of someone else would hold up every writer behind it.
        let locked = match control.query_drop(format!("SET SESSION lock_wait_timeout = {limit}")).await {
            Ok(()) => control.query_drop("FLUSH TABLES WITH READ LOCK").await,
            refused => refused,
        };
        Ok(match locked {
            Ok(()) => Ok(()),
            Err(cause @ mysql_async::Error::Server(_)) => Err(failed("FLUSH TABLES WITH READ LOCK", cause).context),
            Err(cause) => return Err(failed("FLUSH TABLES WITH READ LOCK", cause)),
        })
    };
    run.until_cancelled(locking).await
}

/// Lets the writes go on.
pub async fn release(control: &mut Conn, target: &Target) -> Result<()> {
    control.query_drop("UNLOCK TABLES").await.map_err(|cause| target.explain(failed("UNLOCK TABLES", cause)))
}

/// The server's clock, milliseconds since 1970, UTC.
pub async fn now(control: &mut Conn, target: &Target) -> Result<i64> {
    let row = record(control, "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)").await;
    let row = row.map_err(|failure| target.explain(failure.while_doing("asking for the time")))?;
    Ok(i64::try_from(row.number(0)).unwrap_or(i64::MAX))
}
