//! Named settings of the installation, as text.

use std::collections::BTreeMap;

use deadpool_sqlite::rusqlite::{Transaction, params};

use super::{Db, fault::Outcome, query, row};
use crate::{
    domain::time::Moment,
    error::{Error, Result},
};

pub async fn get(db: &Db, name: &str) -> Result<Option<String>> {
    let name = query::text(name);
    db.read("reading a setting", move |db| {
        query::first(db, "SELECT value FROM settings WHERE name = ?1", &[name], |row| row::plain(row, "value"))
    })
    .await
}

pub async fn set(db: &Db, name: &str, value: &str) -> Result<()> {
    let (name, value) = (name.to_owned(), value.to_owned());
    db.write("saving a setting", move |db| set_row(db, &name, &value)).await
}

fn set_row(db: &Transaction<'_>, name: &str, value: &str) -> Outcome<()> {
    db.execute(
        "INSERT INTO settings (name, value, updated_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
        params![name, value, Moment::now().0],
    )?;
    Ok(())
}

/// Sets several at once, all or none. With `seen` only while each of them still is as it says: errors with `Conflict` otherwise.
pub async fn change(db: &Db, changes: BTreeMap<String, String>, seen: Option<BTreeMap<String, String>>) -> Result<()> {
    db.write("saving the settings", move |db| {
        for (name, value) in &changes {
            let now: Option<String> =
                query::first(db, "SELECT value FROM settings WHERE name = ?1", &[query::text(name)], |row| row::plain(row, "value"))?;
            if seen.as_ref().is_some_and(|seen| seen.get(name) != now.as_ref()) {
                return Err(Error::conflict(format!("{name} was changed by somebody else at the same moment")).into());
            }
            set_row(db, name, value)?;
        }
        Ok(())
    })
    .await
}

pub async fn all(db: &Db) -> Result<BTreeMap<String, String>> {
    db.read("reading the settings", |db| {
        let rows =
            query::all(db, "SELECT name, value FROM settings", &[], |row| Ok((row::plain(row, "name")?, row::plain(row, "value")?)))?;
        Ok(rows.into_iter().collect())
    })
    .await
}
