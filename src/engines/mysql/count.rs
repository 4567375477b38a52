//! Exact row counts of a live database, and their comparison with a dump's.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use futures_util::future::try_join_all;
use mysql_async::prelude::Queryable as _;

use super::connect::{Target, failed, ident};
use crate::{
    domain::{artifact::TableCount, events::Progress, run::Run},
    error::{Error, Kind, Result},
};

/// A table on the server, as the outcome names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    pub database: String,
    pub label: TableCount,
}

/// Counts the rows of these tables over that many connections; returned in the order given.
pub async fn count_rows(target: &Target, tables: &[Counted], connections: usize, run: &Run) -> Result<Vec<TableCount>> {
    let tell = |done: usize| {
        let (tables, total_tables) = (Some(done as u64), Some(tables.len() as u64));
        run.progress(&Progress { stage: "counting".into(), tables, total_tables, ..Progress::default() });
    };
    tell(0);
    let queue = Mutex::new(tables.iter().enumerate().collect::<VecDeque<_>>());
    let counted = Mutex::new(BTreeMap::new());
    let worker = async || -> Result<()> {
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(mut table) = next() else { return Ok(()) };
        let mut connection = target.connect_to_server(run).await?;
        loop {
            let (at, Counted { database, label }) = table;
            let sql = format!("SELECT COUNT(*) FROM {}.{}", ident(database), ident(&label.name));
            let counting = async {
                let rows: Result<Option<u64>, _> = connection.query_first(&sql).await;
                rows.map_err(|cause| target.explain(failed(format!("counting the rows of {}", label.label()), cause)))
            };
            let rows = run.until_cancelled(counting).await?.unwrap_or(0);
            let done = {
                let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
                counted.insert(at, TableCount { rows, ..label.clone() });
                counted.len()
            };
            tell(done);
            match next() {
                Some(more) => table = more,
                None => break,
            }
        }
        // What ends without a goodbye is an aborted connection in the server's statistics.
        connection.disconnect().await.map_err(|cause| failed("closing a connection", cause))
    };
    try_join_all((0..connections.min(tables.len())).map(|_| worker())).await?;
    Ok(counted.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect())
}

/// Errors, beginning with `what`, unless every expected table was found with its rows.
pub fn compare(what: &str, expected: &[TableCount], found: &[TableCount]) -> Result<()> {
    let rows: BTreeMap<_, _> = found.iter().map(|table| ((&table.schema, &table.name), table.rows)).collect();
    let different: Vec<String> = expected
        .iter()
        .filter_map(|table| match rows.get(&(&table.schema, &table.name)) {
            Some(rows) if *rows == table.rows => None,
            Some(rows) => Some(format!("{} has {rows} rows instead of {}", table.label(), table.rows)),
            None => Some(format!("{} is missing", table.label())),
        })
        .collect();
    if different.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Restore, format!("{what}: {}", different.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(schema: Option<&str>, name: &str, rows: u64) -> TableCount {
        TableCount { schema: schema.map(str::to_owned), name: name.into(), rows }
    }

    #[test]
    fn differences_are_named() {
        assert!(compare("x", &[table(None, "a", 1)], &[table(None, "a", 1), table(None, "b", 2)]).is_ok());
        let expected = [table(Some("s"), "a", 1), table(None, "b", 2), table(None, "c", 0)];
        let error = compare("they differ", &expected, &[table(Some("s"), "a", 3), table(None, "c", 0)]).unwrap_err().to_string();
        assert_eq!(error, "they differ: s.a has 3 rows instead of 1, b is missing");
    }
}
