//! Links to one download each. Only the hash of a link's token is kept.

use deadpool_sqlite::rusqlite::{Row, params};

use super::{
    Db,
    fault::Outcome,
    query::{self, text},
    row,
};
use crate::{
    domain::{export::ExportLink, ids::OrganizationId, time::Moment},
    error::Result,
};

const COLUMNS: &str = "id, organization_id, what, file_name, made_by, created_at, expires_at, used_at";

pub async fn insert(db: &Db, organization: OrganizationId, link: &ExportLink, token_hash: &str) -> Result<()> {
    let (link, token_hash) = (link.clone(), token_hash.to_owned());
    db.write("saving the export link", move |db| {
        db.execute(
            "INSERT INTO export_links (id, organization_id, token_hash, what, file_name, made_by, created_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                link.id.to_string(),
                organization.to_string(),
                token_hash,
                row::to_json(&link.what)?,
                link.file_name,
                link.made_by,
                link.created_at.0,
                link.expires_at.0,
            ],
        )?;
        Ok(())
    })
    .await
}

/// Takes the link with this token for the one use it has. `None` when there is none, it was used, or it has expired: of
/// several who come at the same time one gets it.
pub async fn take(db: &Db, token_hash: &str, now: Moment) -> Result<Option<(OrganizationId, ExportLink)>> {
    let values = [text(token_hash), now.0.into()];
    db.write("using the export link", move |db| {
        let sql = format!(
            "UPDATE export_links SET used_at = ?2 WHERE token_hash = ?1 AND used_at IS NULL AND expires_at > ?2 RETURNING {COLUMNS}"
        );
        query::first(db, &sql, &values, read)
    })
    .await
}

/// Whether there was such a link at all.
pub async fn known(db: &Db, token_hash: &str) -> Result<bool> {
    let values = [text(token_hash)];
    db.read("looking for the export link", move |db| {
        Ok(query::first(db, "SELECT 1 FROM export_links WHERE token_hash = ?1", &values, |_| Ok(()))?.is_some())
    })
    .await
}

/// Forgets links that expired before `before`.
pub async fn expire(db: &Db, before: Moment) -> Result<()> {
    db.write("removing old export links", move |db| {
        db.execute("DELETE FROM export_links WHERE expires_at < ?1", params![before.0])?;
        Ok(())
    })
    .await
}

fn read(row: &Row<'_>) -> Outcome<(OrganizationId, ExportLink)> {
    let link = ExportLink {
        id: row::parsed(row, "id")?,
        what: row::json(row, "what")?,
        file_name: row::plain(row, "file_name")?,
        made_by: row::plain(row, "made_by")?,
        created_at: row::moment(row, "created_at")?,
        expires_at: row::moment(row, "expires_at")?,
    };
    Ok((row::parsed(row, "organization_id")?, link))
}
