//! Who can sign in. The hash of a password leaves this file only for the check of a password.

use deadpool_sqlite::rusqlite::{Connection, Row, Transaction, params};

use super::{
    Db,
    fault::Outcome,
    query::{self, text},
    row,
};
use crate::{
    domain::{
        account::User,
        ids::{OrganizationId, UserId},
        permissions::Role,
        time::Moment,
    },
    error::{Error, Result},
};

const COLUMNS: &str = "id, organization_id, name, role, disabled, created_at, last_login_at";

/// Whether anybody can sign in at all.
pub async fn any(db: &Db) -> Result<bool> {
    db.read("looking for users", |db| Ok(query::first(db, "SELECT 1 FROM users LIMIT 1", &[], |_| Ok(()))?.is_some())).await
}

/// Adds the very first user. False when there is one already: of two who try at the same time one wins.
pub async fn insert_first(db: &Db, user: &User, password_hash: &str) -> Result<bool> {
    let (user, password_hash) = (user.clone(), password_hash.to_owned());
    db.write("creating the first user", move |db| {
        if query::first(db, "SELECT 1 FROM users LIMIT 1", &[], |_| Ok(()))?.is_some() {
            return Ok(false);
        }
        insert_row(db, &user, &password_hash).map(|()| true)
    })
    .await
}

/// Errors with `Conflict` when the name is taken.
pub async fn insert(db: &Db, user: &User, password_hash: &str) -> Result<()> {
    let (user, password_hash) = (user.clone(), password_hash.to_owned());
    db.write("creating the user", move |db| insert_row(db, &user, &password_hash)).await
}

fn insert_row(db: &Transaction<'_>, user: &User, password_hash: &str) -> Outcome<()> {
    db.execute(
        "INSERT INTO users (id, organization_id, name, password_hash, role, disabled, created_at, last_login_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            user.id.to_string(),
            user.organization_id.to_string(),
            user.name,
            password_hash,
            user.role.as_str(),
            user.disabled,
            user.created_at.0,
            user.last_login_at.map(|at| at.0),
        ],
    )?;
    Ok(())
}

pub async fn get(db: &Db, organization: OrganizationId, id: UserId) -> Result<User> {
    db.read("reading the user", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM users WHERE organization_id = ?1 AND id = ?2");
        query::first(db, &sql, &[text(organization), text(id)], read)?.ok_or_else(|| missing(id).into())
    })
    .await
}

/// By name. There are few, so they come whole.
pub async fn list(db: &Db, organization: OrganizationId) -> Result<Vec<User>> {
    db.read("listing the users", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM users WHERE organization_id = ?1 ORDER BY name");
        query::all(db, &sql, &[text(organization)], read)
    })
    .await
}

/// The user of that name and the hash of the password. Names are unique over all organizations.
pub async fn find_to_sign_in(db: &Db, name: &str) -> Result<Option<(User, String)>> {
    let name = text(name);
    db.read("looking for the user", move |db| {
        let sql = format!("SELECT {COLUMNS}, password_hash FROM users WHERE name = ?1");
        query::first(db, &sql, &[name], |row| Ok((read(row)?, row::plain(row, "password_hash")?)))
    })
    .await
}

pub async fn password_hash(db: &Db, id: UserId) -> Result<Option<String>> {
    db.read("reading the user", move |db| {
        query::first(db, "SELECT password_hash FROM users WHERE id = ?1", &[text(id)], |row| row::plain(row, "password_hash"))
    })
    .await
}

pub async fn set_password(db: &Db, id: UserId, password_hash: &str) -> Result<()> {
    let password_hash = password_hash.to_owned();
    db.write("changing the password", move |db| {
        let changed = db.execute("UPDATE users SET password_hash = ?2 WHERE id = ?1", params![id.to_string(), password_hash])?;
        if changed == 0 { Err(missing(id).into()) } else { Ok(()) }
    })
    .await
}

pub async fn set_last_login(db: &Db, id: UserId, at: Moment) -> Result<()> {
    db.write("recording the login", move |db| {
        db.execute("UPDATE users SET last_login_at = ?2 WHERE id = ?1", params![id.to_string(), at.0])?;
        Ok(())
    })
    .await
}

/// Changes role and state. One who is disabled is signed out at once. Errors with `Conflict` when no administrator
/// would be left who can sign in.
pub async fn update(db: &Db, organization: OrganizationId, id: UserId, role: Role, disabled: bool) -> Result<User> {
    db.write("changing the user", move |db| {
        if role != Role::Admin || disabled {
            keep_an_administrator(db, organization, id)?;
        }
        if disabled {
            db.execute("DELETE FROM sessions WHERE user_id = ?1", params![id.to_string()])?;
        }
        let sql = format!("UPDATE users SET role = ?3, disabled = ?4 WHERE organization_id = ?1 AND id = ?2 RETURNING {COLUMNS}");
        query::first(db, &sql, &[text(organization), text(id), text(role), disabled.into()], read)?.ok_or_else(|| missing(id).into())
    })
    .await
}

/// The user, unless disabled.
pub(super) fn find_enabled(db: &Connection, id: UserId) -> Outcome<Option<User>> {
    query::first(db, &format!("SELECT {COLUMNS} FROM users WHERE id = ?1 AND disabled = FALSE"), &[text(id)], read)
}

/// Removes a user, the user's sessions and API keys. Errors with `Conflict` for the last administrator.
pub async fn delete(db: &Db, organization: OrganizationId, id: UserId) -> Result<()> {
    db.write("removing the user", move |db| {
        keep_an_administrator(db, organization, id)?;
        let removed =
            db.execute("DELETE FROM users WHERE organization_id = ?1 AND id = ?2", params![organization.to_string(), id.to_string()])?;
        if removed == 0 { Err(missing(id).into()) } else { Ok(()) }
    })
    .await
}

/// Errors when `id` is the only administrator who can sign in.
fn keep_an_administrator(db: &Transaction<'_>, organization: OrganizationId, id: UserId) -> Outcome<()> {
    let sql = "SELECT id FROM users WHERE organization_id = ?1 AND role = 'admin' AND disabled = FALSE";
    let able: Vec<UserId> = query::all(db, sql, &[text(organization)], |row| row::parsed(row, "id"))?;
    if able == [id] {
        let error = Error::conflict("this is the only administrator who can sign in").hint("make another user an administrator first");
        return Err(error.into());
    }
    Ok(())
}

fn missing(id: UserId) -> Error {
    Error::not_found(format_args!("user {id}"))
}

fn read(row: &Row<'_>) -> Outcome<User> {
    Ok(User {
        id: row::parsed(row, "id")?,
        organization_id: row::parsed(row, "organization_id")?,
        name: row::plain(row, "name")?,
        role: row::parsed(row, "role")?,
        disabled: row::plain(row, "disabled")?,
        created_at: row::moment(row, "created_at")?,
        last_login_at: row::moment_if_set(row, "last_login_at")?,
    })
}
