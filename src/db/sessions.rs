//! Signed-in browsers. A session lives while it is used (`idle_since`) and until its end (`expires_at`).

use deadpool_sqlite::rusqlite::{Row, params};

use super::{
    Db,
    fault::Outcome,
    query::{self, text},
    row, users,
};
use crate::{
    domain::{
        account::{Session, User},
        ids::{SessionId, UserId},
        time::Moment,
    },
    error::{Error, Result},
};

const COLUMNS: &str = "id, user_id, created_at, last_seen_at, expires_at, address, agent";
const ALIVE: &str = "expires_at > ?2 AND last_seen_at > ?3";

/// Adds a session, and forgets those that have ended.
pub async fn insert(db: &Db, session: &Session, token_hash: &str, idle_since: Moment) -> Result<()> {
    let (session, token_hash) = (session.clone(), token_hash.to_owned());
    db.write("opening the session", move |db| {
        db.execute("DELETE FROM sessions WHERE expires_at <= ?1 OR last_seen_at <= ?2", params![session.created_at.0, idle_since.0])?;
        db.execute(
            "INSERT INTO sessions (id, user_id, token_hash, created_at, last_seen_at, expires_at, address, agent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                session.id.to_string(),
                session.user_id.to_string(),
                token_hash,
                session.created_at.0,
                session.last_seen_at.0,
                session.expires_at.0,
                session.address,
                session.agent,
            ],
        )?;
        Ok(())
    })
    .await
}

/// Forgets the sessions of everybody that have ended.
pub async fn delete_ended(db: &Db, now: Moment, idle_since: Moment) -> Result<()> {
    db.write("removing ended sessions", move |db| {
        db.execute("DELETE FROM sessions WHERE expires_at <= ?1 OR last_seen_at <= ?2", params![now.0, idle_since.0])?;
        Ok(())
    })
    .await
}

/// The living session with this token's hash, and its user unless that one is disabled.
pub async fn find(db: &Db, token_hash: &str, now: Moment, idle_since: Moment) -> Result<Option<(User, Session)>> {
    let values = [text(token_hash), now.0.into(), idle_since.0.into()];
    db.read("reading the session", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM sessions WHERE token_hash = ?1 AND {ALIVE}");
        let Some(session) = query::first(db, &sql, &values, read)? else { return Ok(None) };
        Ok(users::find_enabled(db, session.user_id)?.map(|user| (user, session)))
    })
    .await
}

pub async fn touch(db: &Db, id: SessionId, at: Moment) -> Result<()> {
    db.write("keeping the session", move |db| {
        db.execute("UPDATE sessions SET last_seen_at = ?2 WHERE id = ?1", params![id.to_string(), at.0])?;
        Ok(())
    })
    .await
}

/// A user's living sessions, the one used last first.
pub async fn list(db: &Db, user: UserId, now: Moment, idle_since: Moment) -> Result<Vec<Session>> {
    let values = [text(user), now.0.into(), idle_since.0.into()];
    db.read("listing the sessions", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM sessions WHERE user_id = ?1 AND {ALIVE} ORDER BY last_seen_at DESC, id");
        query::all(db, &sql, &values, read)
    })
    .await
}

/// Ends one session of a user. Errors with `NotFound` when the user has none of that id.
pub async fn delete(db: &Db, user: UserId, id: SessionId) -> Result<()> {
    db.write("ending the session", move |db| {
        let removed = db.execute("DELETE FROM sessions WHERE user_id = ?1 AND id = ?2", params![user.to_string(), id.to_string()])?;
        if removed == 0 { Err(Error::not_found(format_args!("session {id}")).into()) } else { Ok(()) }
    })
    .await
}

/// Ends every session of a user, but the one to keep.
pub async fn delete_all(db: &Db, user: UserId, keep: Option<SessionId>) -> Result<()> {
    let keep = keep.map(|id| id.to_string()).unwrap_or_default();
    db.write("ending the sessions", move |db| {
        db.execute("DELETE FROM sessions WHERE user_id = ?1 AND id <> ?2", params![user.to_string(), keep])?;
        Ok(())
    })
    .await
}

fn read(row: &Row<'_>) -> Outcome<Session> {
    Ok(Session {
        id: row::parsed(row, "id")?,
        user_id: row::parsed(row, "user_id")?,
        created_at: row::moment(row, "created_at")?,
        last_seen_at: row::moment(row, "last_seen_at")?,
        expires_at: row::moment(row, "expires_at")?,
        address: row::plain(row, "address")?,
        agent: row::plain(row, "agent")?,
    })
}
