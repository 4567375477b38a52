//! Named settings of the installation, as text.

use std::collections::BTreeMap;

use deadpool_sqlite::rusqlite::params;

use super::{Db, query, row};
use crate::{domain::time::Moment, error::Result};

pub async fn get(db: &Db, name: &str) -> Result<Option<String>> {
    let name = query::text(name);
    db.read("reading a setting", move |db| {
        query::first(db, "SELECT value FROM settings WHERE name = ?1", &[name], |row| row::plain(row, "value"))
    })
    .await
}

pub async fn set(db: &Db, name: &str, value: &str) -> Result<()> {
    let (name, value) = (name.to_owned(), value.to_owned());
    db.write("saving a setting", move |db| {
        db.execute(
            "INSERT INTO settings (name, value, updated_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
            params![name, value, Moment::now().0],
        )?;
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
