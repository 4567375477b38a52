//! Exact row counts of a live database, and their comparison with a dump's.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use futures_util::future::try_join_all;

use super::connect::{Target, failed, ident};
use crate::{
    domain::{artifact::TableCount, events::Progress, run::Run},
    error::{Error, Kind, Result},
};

/// Counts the rows of these tables over that many connections; returned in the order given.
pub async fn count_rows(target: &Target, tables: &[(Option<String>, String)], connections: usize, run: &Run) -> Result<Vec<TableCount>> {
    let queue = Mutex::new(tables.iter().enumerate().collect::<VecDeque<_>>());
    let counted = Mutex::new(BTreeMap::new());
    let worker = async || -> Result<()> {
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(mut table) = next() else { return Ok(()) };
        let client = target.connect(run).await?;
        // A policy that hides rows must be an error, never a smaller number.
        client.batch_execute("SET row_security = off").await.map_err(|cause| failed("preparing to count rows", &cause))?;
        loop {
            let (at, (schema, name)) = table;
            let mut count = TableCount { schema: schema.clone(), name: name.clone(), rows: 0 };
            // ONLY: the rows of inheritance children are counted under their own names, as in an archive.
            let sql = format!("SELECT count(*) FROM ONLY {}.{}", ident(schema.as_deref().unwrap_or("public")), ident(name));
            let counting = async {
                client.query_one(&sql, &[]).await.map_err(|cause| failed(format!("counting the rows of {}", count.label()), &cause))
            };
            let row = run.until_cancelled(counting).await?;
            count.rows = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
            let done = {
                let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
                counted.insert(at, count);
                counted.len()
            };
            run.progress(&Progress {
                stage: "counting".into(),
                tables: Some(done as u64),
                total_tables: Some(tables.len() as u64),
                ..Progress::default()
            });
            match next() {
                Some(more) => table = more,
                None => return Ok(()),
            }
        }
    };
    try_join_all((0..connections.min(tables.len())).map(|_| worker())).await?;
    Ok(counted.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect())
}

/// Errors unless every counted table holds the expected rows. Tables that are expected but were not counted are
/// for the caller to leave out.
pub fn compare(expected: &[TableCount], counted: &[TableCount]) -> Result<()> {
    let found: BTreeMap<_, _> = counted.iter().map(|table| ((&table.schema, &table.name), table.rows)).collect();
    let different: Vec<String> = expected
        .iter()
        .filter_map(|table| match found.get(&(&table.schema, &table.name)) {
            Some(rows) if *rows == table.rows => None,
            Some(rows) => Some(format!("{} has {rows} rows instead of {}", table.label(), table.rows)),
            None => Some(format!("{} is missing", table.label())),
        })
        .collect();
    if different.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Restore, format!("the restored database differs from the backup: {}", different.join(", ")))
        .hint("make sure nothing writes to the target during the restore, then restore again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, rows: u64) -> TableCount {
        TableCount { schema: Some("public".into()), name: name.into(), rows }
    }

    #[test]
    fn differences_are_named() {
        assert!(compare(&[table("a", 1)], &[table("a", 1), table("b", 2)]).is_ok());
        let error = compare(&[table("a", 1), table("b", 2), table("c", 0)], &[table("a", 3), table("c", 0)]).unwrap_err().to_string();
        assert!(error.contains("public.a has 3 rows instead of 1, public.b is missing") && !error.contains("public.c"), "{error}");
    }
}
