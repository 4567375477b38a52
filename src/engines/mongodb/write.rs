//! Changes of one collection: each is held against the document that is there, then written with the old document as a
//! guard, so that what somebody else changes in between is not overwritten.

use std::collections::HashMap;

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, RawArrayBuf, RawBson, RawDocument, RawDocumentBuf, doc, rawdoc};

use super::{
    archive::{BUCKETS, damaged},
    load::{Place, insert, needs_literal},
    session::Session,
    tally::Tally,
};
use crate::{
    domain::restore::OnConflict,
    engines::rows::Applied,
    error::{Error, Kind, Result},
    snapshot::{Key, Row, RowChange, Table, bson_fields, document_id_json, document_key},
};

/// Changes that are looked at and written together.
const CHANGES: usize = 500;
/// Bytes of their documents, but for a single change.
const BYTES: usize = 4 * 1024 * 1024;
/// A server takes commands of 16 MiB: a guard that would make one longer is left out.
const GUARDED: usize = 7 * 1024 * 1024;
/// Conflicts that are named; the others are counted.
const SHOWN: usize = 20;
/// Fields that are named of one of them.
const FIELDS: usize = 5;

const MISSING: &str = "it is not there";

/// What is to be done with one change.
#[derive(Debug, Clone, PartialEq)]
enum Verdict {
    Insert,
    Replace,
    /// The same `_id` as a number of another type: no update can change it.
    Exchange,
    Delete,
    Unchanged,
    Conflict(String),
}

/// Writes changes into one collection.
pub struct Writing<'a> {
    session: &'a Session,
    table: &'a Table,
    place: Place,
    on_conflict: OnConflict,
    keyless: bool,
    applied: Applied,
    conflicts: u64,
    written: u64,
}

impl<'a> Writing<'a> {
    pub fn new(
        session: &'a Session,
        table: &'a Table,
        (db, name): (String, String),
        series: bool,
        fresh: bool,
        validated: bool,
        on_conflict: OnConflict,
    ) -> Self {
        let place = Place {
            db,
            name: if series && !session.raw_data { format!("{BUCKETS}{name}") } else { name.clone() },
            logical: series.then_some(name),
            label: table.name.to_string(),
            in_order: false,
            fresh,
            // Old documents may be older than the validator; into collections of others only what fits goes.
            bypass_validation: fresh && validated && !series,
            raw_data: series && session.raw_data,
        };
        let keyless = table.key == Key::Row;
        Self { session, table, place, on_conflict, keyless, applied: Applied::default(), conflicts: 0, written: 0 }
    }

    /// Changes in pieces that are taken together.
    pub fn chunks(changes: &[RowChange]) -> impl Iterator<Item = &[RowChange]> {
        let mut rest = changes;
        std::iter::from_fn(move || {
            let mut bytes = 0;
            let fits = |change: &&RowChange| {
                let first = bytes == 0;
                bytes += size(change) + 1;
                first || bytes <= BYTES
            };
            let count = rest.iter().take(CHANGES).take_while(fits).count();
            let (now, later) = rest.split_at(count);
            rest = later;
            (count > 0).then_some(now)
        })
    }

    /// Documents written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// What became of the changes. With [`OnConflict::Stop`] errors when there was any conflict.
    pub fn finish(self) -> Result<Applied> {
        if self.conflicts == 0 || self.on_conflict != OnConflict::Stop {
            return Ok(self.applied);
        }
        let more = self.conflicts.saturating_sub(self.applied.conflicts.len() as u64);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let stopped = if self.written == 0 { "nothing was changed" } else { "the others are written" };
        Err(Error::conflict(format!(
            "documents of {} are not as the changes expect them, and {stopped}: {}{more}",
            self.table.name,
            self.applied.conflicts.join("; ")
        ))
        .hint("compare again, or choose to skip or to overwrite such documents"))
    }

    /// Holds changes against what is there and, unless `only_look`, writes those that fit.
    pub async fn take(&mut self, changes: &[RowChange], only_look: bool) -> Result<()> {
        let verdicts = self.judge(changes).await?;
        if only_look {
            changes.iter().zip(verdicts).for_each(|(change, verdict)| self.count(change, verdict));
            return Ok(());
        }
        let chosen = |wanted: &[Verdict]| -> Vec<&RowChange> {
            changes.iter().zip(&verdicts).filter(|(_, verdict)| wanted.contains(verdict)).map(|(change, _)| change).collect()
        };
        let (removed, replaced) = (chosen(&[Verdict::Delete, Verdict::Exchange]), chosen(&[Verdict::Replace]));
        let inserted = chosen(&[Verdict::Insert, Verdict::Exchange]);
        let gone = self.delete(&removed).await?;
        let put = self.replace(&replaced).await?;
        let complete = gone == removed.len() as u64 && put == replaced.len() as u64;
        self.written += gone + put;
        if complete {
            self.insert(&inserted).await?;
            changes.iter().zip(verdicts).for_each(|(change, verdict)| self.count(change, verdict));
            return Ok(());
        }
        self.settle(changes, verdicts).await
    }

    /// Somebody else wrote in between: what was done is told from what was not by looking again.
    async fn settle(&mut self, changes: &[RowChange], verdicts: Vec<Verdict>) -> Result<()> {
        let now = self.judge(changes).await?;
        let mut inserts = Vec::new();
        for ((change, before), now) in changes.iter().zip(verdicts).zip(now) {
            match (&before, now) {
                // It is as the change wants it: this has written it.
                (Verdict::Replace | Verdict::Delete, Verdict::Unchanged) => self.count(change, before),
                // The old one was deleted, and nobody has put another in its place.
                (Verdict::Exchange, Verdict::Conflict(found)) if found == MISSING => {
                    inserts.push(change);
                    self.count(change, before);
                }
                (Verdict::Exchange | Verdict::Insert, Verdict::Insert) => {
                    inserts.push(change);
                    self.count(change, before);
                }
                (Verdict::Replace | Verdict::Delete | Verdict::Insert | Verdict::Exchange, Verdict::Conflict(found)) => {
                    self.count(change, Verdict::Conflict(found));
                }
                (Verdict::Replace | Verdict::Delete | Verdict::Insert | Verdict::Exchange, _) => {
                    self.count(change, Verdict::Conflict("somebody else changed it meanwhile".to_owned()));
                }
                (Verdict::Unchanged | Verdict::Conflict(_), _) => self.count(change, before),
            }
        }
        self.insert(&inserts).await
    }

    fn count(&mut self, change: &RowChange, verdict: Verdict) {
        let rows = change.after.as_ref().map_or(1, |row| row.count.max(1));
        match verdict {
            Verdict::Insert => self.applied.inserted += rows,
            Verdict::Replace | Verdict::Exchange => self.applied.updated += 1,
            Verdict::Delete => self.applied.deleted += 1,
            Verdict::Unchanged => self.applied.unchanged += 1,
            Verdict::Conflict(found) => {
                self.conflicts += 1;
                self.applied.skipped += 1;
                if self.applied.conflicts.len() < SHOWN {
                    let id = document(change.before.as_ref().or(change.after.as_ref())).map(document_id_json).unwrap_or_default();
                    self.applied.conflicts.push(format!("{} _id {id}: {found}", self.table.name));
                }
            }
        }
    }

    async fn judge(&self, changes: &[RowChange]) -> Result<Vec<Verdict>> {
        let only_new = changes.iter().all(|change| change.before.is_none());
        if self.place.fresh && only_new {
            return Ok(vec![Verdict::Insert; changes.len()]);
        }
        if self.keyless || self.place.logical.is_some() {
            let why = if self.keyless { "it has no index of _id that would name its documents" } else { "it is a time-series collection" };
            return Err(Error::new(Kind::Restore, format!("single documents of {} cannot be changed: {why}", self.table.name))
                .hint("restore the whole collection into a new database"));
        }
        let mut keys = Vec::with_capacity(changes.len());
        for change in changes {
            keys.push(document_key(document(change.before.as_ref().or(change.after.as_ref()))?));
        }
        // Whatever is not found below is not there.
        let mut verdicts = Vec::with_capacity(changes.len());
        for change in changes {
            verdicts.push(self.verdict(None, change)?);
        }
        let places: HashMap<&[u8], usize> = keys.iter().enumerate().map(|(at, key)| (key.as_slice(), at)).collect();
        let mut ids = Vec::with_capacity(changes.len());
        for change in changes {
            ids.push(id_of(document(change.before.as_ref().or(change.after.as_ref()))?)?);
        }
        let (_, server, collection) = self.session.collection(&self.place.db, &self.place.name).await;
        let failed = |cause| server.failed(format!("reading {}", self.place.label), &cause);
        let reading = async {
            let mut found = collection.find(doc! { "_id": { "$in": ids } }).await.map_err(failed)?;
            while let Some(found) = found.try_next().await.map_err(failed)? {
                if let Some(at) = places.get(document_key(found.as_bytes()).as_slice()) {
                    verdicts[*at] = self.verdict(Some(found.as_bytes()), &changes[*at])?;
                }
            }
            Ok(())
        };
        self.session.run.until_cancelled(reading).await?;
        Ok(verdicts)
    }

    fn verdict(&self, found: Option<&[u8]>, change: &RowChange) -> Result<Verdict> {
        let side = |row: &Option<Row>| row.as_ref().map(|row| document(Some(row)).map(<[u8]>::to_vec)).transpose();
        let (before, after) = (side(&change.before)?, side(&change.after)?);
        let overwrite = self.on_conflict == OnConflict::Overwrite;
        Ok(match (found, before.as_deref(), after.as_deref()) {
            (None, _, None) => Verdict::Unchanged,
            (None, Some(_), Some(_)) if !overwrite => Verdict::Conflict(MISSING.to_owned()),
            (None, _, Some(_)) => Verdict::Insert,
            (Some(found), _, Some(after)) if found == after => Verdict::Unchanged,
            (Some(found), Some(before), _) if found != before && !overwrite => {
                Verdict::Conflict(format!("it has {}", differing(before, found)))
            }
            (Some(_), None, _) if !overwrite => Verdict::Conflict("another document with this _id is there".to_owned()),
            (Some(found), _, Some(after)) if id_bytes(found) != id_bytes(after) => Verdict::Exchange,
            (Some(_), _, Some(_)) => Verdict::Replace,
            (Some(_), _, None) => Verdict::Delete,
        })
    }

    async fn insert(&mut self, changes: &[&RowChange]) -> Result<()> {
        let mut documents = Vec::with_capacity(changes.len());
        for change in changes {
            let Some(row) = &change.after else { continue };
            let one = RawDocumentBuf::from_bytes(document(Some(row))?.to_vec()).map_err(damaged)?;
            documents.extend(std::iter::repeat_n(one, usize::try_from(row.count.max(1)).unwrap_or(usize::MAX)));
        }
        if documents.is_empty() {
            return Ok(());
        }
        let inserting = insert(self.session, &self.place, documents);
        let tally = self.session.run.until_cancelled(inserting).await?;
        self.written += tally.inserted;
        if tally.refused() > 0 {
            return Err(Tally::error(&[tally]).hint("look at the unique indexes and the validator of the collection"));
        }
        Ok(())
    }

    /// Documents that were deleted.
    async fn delete(&self, changes: &[&RowChange]) -> Result<u64> {
        let mut statements = RawArrayBuf::new();
        for change in changes {
            statements.push(rawdoc! { "q": self.query(change)?, "limit": 1 });
        }
        self.run("delete", "deletes", statements, changes.len()).await
    }

    /// Documents that were replaced.
    async fn replace(&self, changes: &[&RowChange]) -> Result<u64> {
        let mut statements = RawArrayBuf::new();
        for change in changes {
            let after = RawDocumentBuf::from_bytes(document(change.after.as_ref())?.to_vec()).map_err(damaged)?;
            let update = if needs_literal(&after) {
                let mut stages = RawArrayBuf::new();
                stages.push(rawdoc! { "$replaceWith": { "$literal": without_id(&after)? } });
                RawBson::Array(stages)
            } else {
                RawBson::Document(after)
            };
            statements.push(rawdoc! { "q": self.query(change)?, "u": update });
        }
        self.run("update", "updates", statements, changes.len()).await
    }

    /// The document by its `_id`, and only while it is as the change expects it. The comparison is the server's, for which
    /// numbers of another type are equal; the bytes were compared when the document was read.
    fn query(&self, change: &RowChange) -> Result<RawDocumentBuf> {
        let named = document(change.before.as_ref().or(change.after.as_ref()))?;
        let id = RawDocument::from_bytes(named).map_err(damaged)?.get("_id").map_err(damaged)?;
        let id: RawBson = id.map_or(RawBson::Null, Into::into);
        let by_id = rawdoc! { "$eq": id };
        Ok(match &change.before {
            Some(_) if self.on_conflict != OnConflict::Overwrite && size(change) <= GUARDED => {
                let before = RawDocumentBuf::from_bytes(named.to_vec()).map_err(damaged)?;
                rawdoc! { "_id": by_id, "$expr": { "$eq": ["$$ROOT", { "$literal": before }] } }
            }
            _ => rawdoc! { "_id": by_id },
        })
    }

    async fn run(&self, command: &str, list: &str, statements: RawArrayBuf, count: usize) -> Result<u64> {
        if count == 0 {
            return Ok(0);
        }
        let doing = || format!("writing into {}", self.place.label);
        let mut all = RawDocumentBuf::new();
        let name = |name: &str| mongodb::bson::raw::CString::try_from(name).map_err(damaged);
        all.append(name(command)?, self.place.name.as_str());
        all.append(name(list)?, statements);
        all.append(name("ordered")?, false);
        let answer = self.session.write_raw(&self.place.db, doing, all).await?;
        if let Some(refused) = answer.get_array("writeErrors").ok().and_then(|errors| errors.first()).and_then(Bson::as_document) {
            return Err(Error::new(Kind::Restore, format!("{}: {}", doing(), words(refused)))
                .hint("look at the unique indexes and the validator of the collection"));
        }
        Ok(super::server::whole(&answer, "n").unwrap_or(0))
    }
}

/// A pipeline keeps the `_id` that is there, and DocumentDB would have it twice.
fn without_id(document: &RawDocument) -> Result<RawDocumentBuf> {
    let mut rest = RawDocumentBuf::new();
    for field in document {
        let (name, value) = field.map_err(damaged)?;
        if name.as_str() != "_id" {
            rest.append(name, RawBson::from(value));
        }
    }
    Ok(rest)
}

fn words(refused: &Document) -> &str {
    refused.get_str("errmsg").unwrap_or("the server refused it")
}

fn size(change: &RowChange) -> usize {
    [&change.before, &change.after].into_iter().flatten().filter_map(|row| row.cells.first()?.as_ref()).map(bytes::Bytes::len).sum()
}

fn document(row: Option<&Row>) -> Result<&[u8]> {
    let cell = row.and_then(|row| row.cells.first()).and_then(Option::as_ref);
    cell.map(AsRef::as_ref).ok_or_else(|| Error::validation("a change of a collection holds no document"))
}

fn id_bytes(document: &[u8]) -> Option<(u8, &[u8])> {
    let id = crate::snapshot::id_of(document).ok().flatten()?;
    Some((id.kind, id.bytes))
}

fn id_of(document: &[u8]) -> Result<Bson> {
    let id = RawDocument::from_bytes(document).map_err(damaged)?.get("_id").map_err(damaged)?;
    id.map_or(Ok(Bson::Null), |id| Bson::try_from(id).map_err(damaged))
}

/// What is otherwise than expected, by name.
fn differing(expected: &[u8], found: &[u8]) -> String {
    let fields = |document| bson_fields(document).flatten().map(|field| (field.name, field.value)).collect::<Vec<_>>();
    let (expected, found) = (fields(expected), fields(found));
    let differs = |field: &&(&[u8], _), other: &[(&[u8], _)]| !other.contains(*field);
    let mut names: Vec<_> = expected.iter().filter(|field| differs(field, &found)).map(|(name, _)| *name).collect();
    names.extend(
        found
            .iter()
            .filter(|field| differs(field, &expected))
            .map(|(name, _)| *name)
            .filter(|name| !names.contains(name))
            .collect::<Vec<_>>(),
    );
    if names.is_empty() {
        return "its fields in another order".to_owned();
    }
    let more = if names.len() > FIELDS { ", ..." } else { "" };
    let names: Vec<_> = names.iter().take(FIELDS).map(|name| String::from_utf8_lossy(name)).collect();
    format!("other values in {}{more}", names.join(", "))
}
