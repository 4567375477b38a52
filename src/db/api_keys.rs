//! Keys for programs.

use deadpool_sqlite::rusqlite::{Row, params};

use super::{
    Db,
    fault::Outcome,
    query::{self, text},
    row, users,
};
use crate::{
    domain::{
        account::{ApiKey, User},
        ids::{ApiKeyId, OrganizationId, UserId},
        time::Moment,
    },
    error::{Error, Result},
};

const COLUMNS: &str = "id, organization_id, user_id, name, role, created_at, last_used_at, expires_at";

pub async fn insert(db: &Db, key: &ApiKey, key_hash: &str) -> Result<()> {
    let (key, key_hash) = (key.clone(), key_hash.to_owned());
    db.write("saving the API key", move |db| {
        db.execute(
            "INSERT INTO api_keys (id, organization_id, user_id, name, key_hash, role, created_at, last_used_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                key.id.to_string(),
                key.organization_id.to_string(),
                key.user_id.to_string(),
                key.name,
                key_hash,
                key.role.as_str(),
                key.created_at.0,
                key.last_used_at.map(|at| at.0),
                key.expires_at.map(|at| at.0),
            ],
        )?;
        Ok(())
    })
    .await
}

/// The key with this hash that has not expired, and its user unless that one is disabled.
pub async fn find(db: &Db, key_hash: &str, now: Moment) -> Result<Option<(User, ApiKey)>> {
    let values = [text(key_hash), now.0.into()];
    db.read("reading the API key", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE key_hash = ?1 AND (expires_at IS NULL OR expires_at > ?2)");
        let Some(key) = query::first(db, &sql, &values, read)? else { return Ok(None) };
        Ok(users::find_enabled(db, key.user_id)?.map(|user| (user, key)))
    })
    .await
}

pub async fn touch(db: &Db, id: ApiKeyId, at: Moment) -> Result<()> {
    db.write("recording the key's use", move |db| {
        db.execute("UPDATE api_keys SET last_used_at = ?2 WHERE id = ?1", params![id.to_string(), at.0])?;
        Ok(())
    })
    .await
}

/// The organization's keys, or one user's, by name.
pub async fn list(db: &Db, organization: OrganizationId, user: Option<UserId>) -> Result<Vec<ApiKey>> {
    let values = [text(organization), user.map(|id| id.to_string()).into()];
    db.read("listing the API keys", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE organization_id = ?1 AND (?2 IS NULL OR user_id = ?2) ORDER BY name, id");
        query::all(db, &sql, &values, read)
    })
    .await
}

/// Removes a key, of one user where `user` is given. Errors with `NotFound` when there is none.
pub async fn delete(db: &Db, organization: OrganizationId, user: Option<UserId>, id: ApiKeyId) -> Result<()> {
    db.write("removing the API key", move |db| {
        let removed = db.execute(
            "DELETE FROM api_keys WHERE organization_id = ?1 AND id = ?2 AND (?3 IS NULL OR user_id = ?3)",
            params![organization.to_string(), id.to_string(), user.map(|id| id.to_string())],
        )?;
        if removed == 0 { Err(Error::not_found(format_args!("API key {id}")).into()) } else { Ok(()) }
    })
    .await
}

fn read(row: &Row<'_>) -> Outcome<ApiKey> {
    Ok(ApiKey {
        id: row::parsed(row, "id")?,
        organization_id: row::parsed(row, "organization_id")?,
        user_id: row::parsed(row, "user_id")?,
        name: row::plain(row, "name")?,
        role: row::parsed(row, "role")?,
        created_at: row::moment(row, "created_at")?,
        last_used_at: row::moment_if_set(row, "last_used_at")?,
        expires_at: row::moment_if_set(row, "expires_at")?,
    })
}
