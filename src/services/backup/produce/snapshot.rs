//! The snapshot of a backup: of the dump's own moment, or alone.

use std::{collections::BTreeMap, time::Instant};

use super::{Plan, Taken, gate};
use crate::{
    domain::{
        artifact::{Artifact, ArtifactKind, DumpFormat, TableCount},
        compression::Compression,
        ids::ArtifactId,
        run::Run,
        time::Moment,
    },
    error::{Error, Kind, Result},
    pipeline::{Sealed, keys::KeyRing},
    services::snapshots::{self, Spec},
    stores::Store,
};

/// A snapshot in the store.
pub(super) struct Made {
    pub artifact: Artifact,
    pub tables: Vec<TableCount>,
    /// Those that the moment itself did not have.
    pub warnings: Vec<String>,
}

/// Writes the snapshot of what was taken, proves it, and holds its rows against those of the dump.
pub(super) async fn add(
    plan: &Plan<'_>,
    taken: &mut Taken,
    dumped: &[TableCount],
    key: String,
    store: &dyn Store,
    keys: Option<&KeyRing>,
    run: &Run,
) -> Result<Made> {
    let mut of_dump = None;
    let known = taken.facts().warnings;
    let source = match taken {
        Taken::Rows(source) => source,
        Taken::Dump(dump) => of_dump.insert(dump.source(run).await?),
    };
    // What could not be made the same instant is said by the source: the rows may differ then.
    let same_instant = source.facts().warnings.is_empty();
    let sealed_with = keys.filter(|_| plan.options.encrypt);
    let spec = Spec {
        engine: plan.engine.info().id,
        database: plan.database,
        options: &plan.options.snapshot,
        partial: plan.engine.partial(&plan.options.engine).is_some(),
        keys: sealed_with,
    };
    let begun = Instant::now();
    let written = snapshots::write(source.as_mut(), &spec, store, &key, run).await?;
    let sealed = Sealed {
        plain_size: written.size,
        stored_size: written.size,
        plain_sha256: written.sha256.clone(),
        stored_sha256: written.sha256.clone(),
    };
    gate(&key, &sealed, &written.object, store, run).await?;
    let mut warnings: Vec<_> = written.warnings.iter().filter(|warning| !known.contains(warning)).cloned().collect();
    if let Some(problem) = differing_rows(dumped, &written.seen()) {
        let problem = format!("the snapshot has not the rows of the dump: {problem}");
        if same_instant {
            return Err(Error::new(Kind::Backup, format!("{problem}, although both are of the same moment")));
        }
        warnings.push(problem);
    }
    for warning in &warnings {
        run.warn(warning);
    }
    let rows: u64 = written.tables.iter().map(|table| table.rows).sum();
    run.info(format!(
        "snapshot: {rows} rows of {} tables in {:.1} s, {} bytes stored, size and checksum equal",
        written.tables.len(),
        begun.elapsed().as_secs_f64(),
        written.size
    ));
    let artifact = Artifact {
        id: ArtifactId::new(),
        backup_id: plan.id,
        kind: ArtifactKind::Snapshot,
        format: DumpFormat::Snapshot,
        store_id: plan.store_id,
        key,
        plain_size: sealed.plain_size,
        stored_size: sealed.stored_size,
        plain_sha256: sealed.plain_sha256,
        stored_sha256: sealed.stored_sha256,
        compression: Compression::None,
        key_id: sealed_with.map(|keys| keys.current().id().to_owned()),
        created_at: Moment::now(),
    };
    Ok(Made { artifact, tables: written.kept(), warnings })
}

/// The error of a backup whose snapshot cannot be made, with the way to do without.
pub(super) fn told(plan: &Plan<'_>, error: Error) -> Error {
    if error.is_cancelled() {
        return error;
    }
    let error = error.while_doing("making the snapshot");
    // A store that fails does so without a snapshot too.
    if error.hint.is_some() || error.kind == Kind::Storage || !plan.options.artifacts.contains(&ArtifactKind::Dump) {
        return error;
    }
    error.hint("to back up without a snapshot, choose the artifacts [\"dump\"]")
}

/// Where rows of the same tables differ. Tables that only one of the two has are held against each other all together: a
/// dump names the partitions of a table that the snapshot has as one.
fn differing_rows(dumped: &[TableCount], seen: &[TableCount]) -> Option<String> {
    if dumped.is_empty() {
        return None;
    }
    let by_name = |counts: &[TableCount]| counts.iter().map(|count| (count.label(), count.rows)).collect::<BTreeMap<_, _>>();
    let (dumped, seen) = (by_name(dumped), by_name(seen));
    let mut wrong: Vec<_> = dumped
        .iter()
        .filter_map(|(name, rows)| Some((name, rows, seen.get(name)?)))
        .filter(|(_, rows, seen)| rows != seen)
        .map(|(name, rows, seen)| format!("{name} has {seen} rows, {rows} in the dump"))
        .collect();
    let alone = |own: &BTreeMap<String, u64>, other: &BTreeMap<String, u64>| -> (Vec<String>, u64) {
        let alone = own.iter().filter(|(name, rows)| **rows > 0 && !other.contains_key(*name));
        alone.fold((Vec::new(), 0), |(mut names, sum), (name, rows)| {
            names.push(name.clone());
            (names, sum + rows)
        })
    };
    let ((only_dumped, in_dump), (only_seen, in_snapshot)) = (alone(&dumped, &seen), alone(&seen, &dumped));
    if in_dump != in_snapshot {
        let names = [only_dumped, only_seen].concat().into_iter().take(5).collect::<Vec<_>>().join(", ");
        wrong.push(format!("{names}: {in_snapshot} rows, {in_dump} in the dump"));
    }
    let more = wrong.len().saturating_sub(5);
    wrong.truncate(5);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    (!wrong.is_empty()).then(|| format!("{}{more}", wrong.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_differ_are_named_and_partitions_count_together() {
        let count = |name: &str, rows| TableCount { schema: None, name: name.into(), rows };
        assert_eq!(differing_rows(&[], &[count("a", 1)]), None, "a dump without counts tells nothing");
        assert_eq!(differing_rows(&[count("a", 1), count("p1", 2), count("p2", 3)], &[count("a", 1), count("p", 5)]), None);
        assert_eq!(differing_rows(&[count("a", 1), count("empty", 0)], &[count("a", 1)]), None);
        let found = differing_rows(&[count("a", 1), count("p1", 2)], &[count("a", 2), count("p", 3)]).unwrap();
        assert_eq!(found, "a has 2 rows, 1 in the dump; p1, p: 3 rows, 2 in the dump");
    }
}
