//! The fast tier: which ranges of keys may hold other rows than at an earlier moment, told by the server's row versions.
//!
//! A row that is seen now and was written by a transaction older than every one that was open at the earlier moment was
//! seen then too. So a range with as many rows as then, none of them newer, holds the same rows. That is a promise, and
//! holds only while transaction numbers go on as they did: the marks of a moment name the server's history, and every
//! file and type that the text of a table's rows depends on.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::{
    catalog::{Catalog, Held, KeyKind, Relation},
    connect::failed,
    range,
    session::limited,
};
use crate::{
    engines::KeyRange,
    error::Result,
    snapshot::{Part, Table, TableName, parts},
};

/// Marks that must be the same, and why the fast tier is not used where they are not.
const SAME: [(&str, &str); 3] = [
    ("system", "it is another server"),
    ("timeline", "the server was restored or promoted since"),
    ("server", "the server was restarted, upgraded or had crashed since"),
];
/// Transactions that may lie between two moments: rows would look older than they are after 2^31.
const DISTANCE: u64 = (1 << 31) - (1 << 27);
/// Ranges that are asked for by one statement, where each is a scan of its own.
const TOGETHER: usize = 100;

/// The marks of the moment that the client stands in; empty where the server does not tell.
pub async fn marks(client: &Client, catalog: &Catalog) -> Result<BTreeMap<String, String>> {
    let reading = |cause| failed("reading the marks of the moment", &cause);
    let row = client.query_one(ALLOWED, &[]).await.map_err(reading)?;
    if !row.get::<_, bool>(0) {
        return Ok(BTreeMap::new());
    }
    let row = client.query_one(SERVER, &[]).await.map_err(reading)?;
    let names = ["system", "timeline", "server", "snapshot"];
    let mut marks: BTreeMap<String, String> = names.iter().enumerate().map(|(at, name)| ((*name).to_owned(), row.get(at))).collect();
    let fit: Vec<(&TableName, &Held)> = catalog
        .held
        .iter()
        .filter(|(_, held)| held.ordered && !held.partial && held.leaves.iter().all(|leaf| is_heap(catalog, *leaf)))
        .collect();
    let oids: Vec<u32> = fit.iter().flat_map(|(_, held)| held.leaves.iter().copied().chain([held.oid])).collect();
    let mut forms: BTreeMap<u32, String> = BTreeMap::new();
    for row in client.query(FORMS, &[&oids]).await.map_err(reading)? {
        forms.insert(row.get(0), row.get(1));
    }
    for (name, held) in fit {
        if let Some(form) = form(catalog, held, &forms) {
            marks.insert(mark_of(name), form);
        }
    }
    Ok(marks)
}

fn mark_of(table: &TableName) -> String {
    format!("oid:{table}")
}

/// Other ways of storing rows have versions of their own.
fn is_heap(catalog: &Catalog, oid: u32) -> bool {
    catalog.relations.get(&oid).is_some_and(|relation: &Relation| relation.storage == "heap" && relation.file != 0)
}

/// All that the text of a table's rows and their order depend on, in short; `None` where it depends on more.
fn form(catalog: &Catalog, held: &Held, forms: &BTreeMap<u32, String>) -> Option<String> {
    let mut all = blake3::Hasher::new();
    for oid in held.leaves.iter().chain([&held.oid]) {
        let form = forms.get(oid)?;
        all.update(format!("{oid} {} {form}\n", catalog.relations.get(oid)?.file).as_bytes());
    }
    for column in &held.key {
        all.update(format!("{} {:?}\n", column.expression, column.kind).as_bytes());
    }
    Some(format!("{} {}", held.oid, all.finalize().to_hex()))
}

/// The oldest transaction that was open at an earlier moment, as the server's 32-bit number; the error is why the fast
/// tier is not used.
pub fn oldest_open(
    table: &Table,
    now: &BTreeMap<String, String>,
    then: &BTreeMap<String, String>,
    ranges: &[(KeyRange, u64)],
) -> std::result::Result<u32, String> {
    if !then.contains_key("snapshot") || !now.contains_key("snapshot") {
        return Err("the server does not tell its history: it is a standby, or the user may not ask".into());
    }
    for (name, why) in SAME {
        if now.get(name) != then.get(name) || !now.contains_key(name) {
            return Err(why.into());
        }
    }
    match (now.get(&mark_of(&table.name)), then.get(&mark_of(&table.name))) {
        (Some(now), Some(then)) if now == then => {}
        (None, _) => return Err("it has no key in the order of an index, or its values depend on more than its rows".into()),
        (_, None) => return Err("it was another table, or had no key in the order of an index".into()),
        _ => return Err("its files, columns, types or partitions changed since".into()),
    }
    if !ranges.windows(2).all(|pair| pair[0].0.to.is_some() && pair[0].0.to == pair[1].0.after) {
        return Err("its ranges are no neighbours".into());
    }
    let ((Some((oldest, then)), Some((_, now))), true) = ((numbers(then), numbers(now)), !ranges.is_empty()) else {
        return Err("the marks of the moment cannot be read".into());
    };
    if now < then || now - oldest >= DISTANCE {
        return Err("too many transactions lie between, or the server was set back".into());
    }
    // The low 32 bits are what rows hold.
    Ok((oldest & u64::from(u32::MAX)) as u32)
}

/// The oldest transaction that was open, and the next to come, of `xmin:xmax:open,...`.
///
/// Everything from the oldest open one on counts as newer: of those between, the list names no subtransactions.
fn numbers(marks: &BTreeMap<String, String>) -> Option<(u64, u64)> {
    let mut fields = marks.get("snapshot")?.split(':');
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Of each range, whether it may hold other rows than then.
pub async fn look(client: &Client, table: &Table, held: &Held, ranges: &[(KeyRange, u64)], oldest: u32) -> Result<Vec<bool>> {
    let reading = |cause| limited(failed(format!("looking for newer rows of {}", table.name), &cause), &cause);
    // Frozen rows may look newer by their age: a false alarm.
    let counts = format!("count(*), count(*) FILTER (WHERE age(xmin) <= age('{oldest}'::xid))");
    let mut found = vec![(0_i64, 0_i64); ranges.len()];
    if let Some(buckets) = buckets(held, ranges)? {
        let key = &held.key[0].expression;
        let (sql, rows) = match &buckets.bounds {
            Bounds::Integers(bounds) => {
                let sql = format!("SELECT width_bucket({key}::int8, $1::int8[]), {counts} FROM {} GROUP BY 1", held.from);
                let rows = client.query(&sql, &[bounds]).await;
                (sql, rows)
            }
            Bounds::Uuids(bounds) => {
                let sql = format!("SELECT width_bucket({key}::uuid, $1::uuid[]), {counts} FROM {} GROUP BY 1", held.from);
                let rows = client.query(&sql, &[bounds]).await;
                (sql, rows)
            }
        };
        drop(sql);
        for row in rows.map_err(reading)? {
            let bucket = usize::try_from(row.get::<_, i32>(0)).unwrap_or(0);
            if let Some(one) = bucket.checked_sub(buckets.before).and_then(|at| found.get_mut(at)) {
                *one = (row.get(1), row.get(2));
            }
        }
    } else {
        for (start, some) in ranges.chunks(TOGETHER).enumerate() {
            let selects = some.iter().enumerate().map(|(at, (range, _))| {
                let condition = range::condition(&held.key, range)?.map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
                Ok(format!("SELECT {at}, {counts} FROM {}{condition}", held.from))
            });
            let sql = selects.collect::<Result<Vec<_>>>()?.join(" UNION ALL ");
            for row in client.query(&sql, &[]).await.map_err(reading)? {
                let at = start * TOGETHER + usize::try_from(row.get::<_, i32>(0)).unwrap_or(0);
                if let Some(one) = found.get_mut(at) {
                    *one = (row.get(1), row.get(2));
                }
            }
        }
    }
    let changed = |((all, newer), (_, rows)): (&(i64, i64), &(KeyRange, u64))| *newer != 0 || u64::try_from(*all).ok() != Some(*rows);
    Ok(found.iter().zip(ranges).map(changed).collect())
}

/// Bounds that one scan of the table sorts its rows by.
struct Buckets {
    bounds: Bounds,
    /// Buckets before the first range.
    before: usize,
}

enum Bounds {
    Integers(Vec<i64>),
    Uuids(Vec<uuid::Uuid>),
}

/// The first keys behind each range, for keys of one column of a fixed width: the server then finds a row's bucket by
/// halving. `None` for other keys.
fn buckets(held: &Held, ranges: &[(KeyRange, u64)]) -> Result<Option<Buckets>> {
    let [column] = &held.key[..] else { return Ok(None) };
    let first = ranges.first().and_then(|(range, _)| range.after.as_deref());
    let ends = first.into_iter().chain(ranges.iter().filter_map(|(range, _)| range.to.as_deref()));
    let mut bounds = match column.kind {
        KeyKind::Integer => Bounds::Integers(Vec::with_capacity(ranges.len())),
        KeyKind::Uuid => Bounds::Uuids(Vec::with_capacity(ranges.len())),
        KeyKind::Bytes | KeyKind::Text => return Ok(None),
    };
    for end in ends {
        match (&mut bounds, &parts(end)?[..]) {
            // No key lies behind the greatest.
            (Bounds::Integers(bounds), [Part::Integer(number)]) => bounds.extend(i64::try_from(number.saturating_add(1))),
            (Bounds::Uuids(bounds), [Part::Uuid(uuid)]) => {
                bounds.extend(u128::from_be_bytes(*uuid).checked_add(1).map(uuid::Uuid::from_u128));
            }
            _ => return Ok(None),
        }
    }
    Ok(Some(Buckets { bounds, before: usize::from(first.is_some()) }))
}

/// Whether the account may ask for the server's history, and the server makes one.
const ALLOWED: &str = "
    SELECT NOT pg_is_in_recovery() AND has_function_privilege('pg_control_system()', 'EXECUTE')
           AND has_function_privilege('pg_current_wal_lsn()', 'EXECUTE') AND has_function_privilege('pg_walfile_name(pg_lsn)', 'EXECUTE')";

/// The server's identity; its timeline; since when it runs without a crash, which resets its statistics and may have lost
/// transactions whose numbers were then given again; the moment.
const SERVER: &str = "
    SELECT (SELECT system_identifier::text FROM pg_control_system()), substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
           concat_ws(' ', current_setting('server_version_num'), extract(epoch FROM pg_postmaster_start_time()),
                     (SELECT extract(epoch FROM stats_reset) FROM pg_stat_bgwriter)),
           txid_current_snapshot()::text";

/// Of the tables $1, all that the text of their rows depends on beside the rows themselves: columns with the values that
/// rows older than them have, the labels and attributes of their types, versions of extensions. Tables with values that
/// are names of other things are left out: those change without the rows.
const FORMS: &str = "
    WITH RECURSIVE needs (rel, type) AS (
        SELECT attrelid, atttypid FROM pg_attribute WHERE attrelid = ANY ($1) AND attnum > 0 AND NOT attisdropped
        UNION
        SELECT n.rel, m.type FROM needs n JOIN pg_type t ON t.oid = n.type CROSS JOIN LATERAL (
            SELECT t.typelem WHERE t.typelem <> 0
            UNION ALL SELECT t.typbasetype WHERE t.typbasetype <> 0
            UNION ALL SELECT atttypid FROM pg_attribute WHERE attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped
            UNION ALL SELECT rngsubtype FROM pg_range WHERE rngtypid = t.oid
            UNION ALL SELECT rngtypid FROM pg_range r WHERE (to_jsonb(r) ->> 'rngmultitypid')::oid = t.oid
        ) m (type)
    ), types AS (
        SELECT n.rel, bool_or(t.typname IN ('regproc', 'regprocedure', 'regoper', 'regoperator', 'regclass', 'regtype', 'regrole', 'regnamespace',
                              'regconfig', 'regdictionary', 'regcollation', 'aclitem', 'regdatabase')) AS names,
               string_agg(concat_ws(' ', t.oid, t.typname, t.typnamespace,
                   (SELECT string_agg(concat_ws(' ', oid, enumlabel), ',' ORDER BY oid) FROM pg_enum WHERE enumtypid = t.oid),
                   (SELECT string_agg(concat_ws(' ', attnum, atttypid, atttypmod, attisdropped), ',' ORDER BY attnum) FROM pg_attribute
                     WHERE attrelid = t.typrelid AND attnum > 0)), ';' ORDER BY t.oid) AS form
          FROM needs n JOIN pg_type t ON t.oid = n.type GROUP BY n.rel
    )
    SELECT c.oid, md5(concat_ws('|', c.relkind,
               (SELECT string_agg(concat_ws(' ', attnum, attname, atttypid, atttypmod, attcollation, attgenerated, attisdropped, attmissingval::text), ',' ORDER BY attnum)
                  FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0),
               t.form, (SELECT string_agg(concat_ws(' ', extname, extversion), ',' ORDER BY extname) FROM pg_extension)))
      FROM pg_class c JOIN types t ON t.rel = c.oid WHERE c.oid = ANY ($1) AND NOT t.names";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Key, push_integer};

    fn marks(snapshot: &str, server: &str) -> BTreeMap<String, String> {
        [("system", "7"), ("timeline", "1"), ("server", server), ("snapshot", snapshot), ("oid:t", "1 x")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    fn table() -> Table {
        Table { name: TableName::new(None, "t"), columns: Vec::new(), key: Key::Row, definition: String::new(), options: BTreeMap::new() }
    }

    fn integers(bounds: &[Option<i128>]) -> Vec<(KeyRange, u64)> {
        let key = |number: &Option<i128>| {
            number.map(|number| {
                let mut key = Vec::new();
                push_integer(&mut key, number);
                key
            })
        };
        bounds.windows(2).map(|pair| (KeyRange { after: key(&pair[0]), to: key(&pair[1]) }, 1)).collect()
    }

    #[test]
    fn the_history_must_be_the_same_and_near() {
        let ranges = integers(&[None, Some(5), None]);
        let ask = |now: &str, then: &str| oldest_open(&table(), &marks(now, "a"), &marks(then, "a"), &ranges);
        assert_eq!(ask("100:105:", "90:95:92"), Ok(90));
        assert_eq!(ask("4294967400:4294967400:", "4294967306:4294967396:"), Ok(10));
        assert!(ask("90:90:", "95:95:").unwrap_err().contains("set back"));
        assert!(ask("3000000000:3000000000:", "100:100:").unwrap_err().contains("too many"));
        assert!(ask("x", "y").is_err());
        let then = marks("1:1:", "a");
        for name in ["system", "timeline", "server", "snapshot", "oid:t"] {
            let mut now = marks("1:1:", "a");
            now.remove(name);
            assert!(oldest_open(&table(), &now, &then, &ranges).is_err(), "{name}");
            now.insert(name.into(), "?".into());
            assert!(oldest_open(&table(), &now, &then, &ranges).is_err(), "{name}");
        }
        let apart = [integers(&[None, Some(1)]), integers(&[Some(2), None])].concat();
        assert!(oldest_open(&table(), &then, &then, &apart).is_err() && oldest_open(&table(), &then, &then, &[]).is_err());
    }

    #[test]
    fn bounds_are_the_first_keys_behind_the_ranges() {
        let held = Held {
            oid: 1,
            from: String::new(),
            leaves: Vec::new(),
            partial: false,
            estimate: None,
            key: vec![super::super::catalog::KeyColumn { expression: "id".into(), kind: KeyKind::Integer }],
            ordered: true,
        };
        let check = |bounds: &[Option<i128>], expect: &[i64], before| {
            let found = buckets(&held, &integers(bounds)).unwrap().unwrap();
            let Bounds::Integers(bounds) = found.bounds else { panic!() };
            assert_eq!((bounds.as_slice(), found.before), (expect, before));
        };
        check(&[None, Some(-5), Some(7), None], &[-4, 8], 0);
        check(&[Some(1), Some(i128::from(i64::MAX))], &[2], 1);
    }
}
