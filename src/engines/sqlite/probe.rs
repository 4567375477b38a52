//! Looking at a database without changing it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rustix::fs::Access;

use super::{ask, connect::Source, faults::fault, library_version, schema};
use crate::{
    domain::{database::Probe, run::Run},
    error::{Kind, Result},
};

/// A person waits for the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// File systems whose locks several machines share badly, by the magic number of statfs(2).
const NETWORK: &[(i64, &str)] =
    &[(0x6969, "NFS"), (0xff53_4d42, "SMB"), (0xfe53_4d42, "SMB"), (0x517b, "SMB"), (0x0102_1997, "9p"), (0x0bd0_0bd0, "Lustre")];

pub(super) fn probe(path: &Path, run: &Run) -> Result<Probe> {
    let source = Source::open(path, PATIENCE, run)?;
    let connection = source.connection();
    let failed = |cause| fault(Kind::Database, "reading", &source.path, cause);
    let begun = Instant::now();
    ask::<i64>(connection, "PRAGMA schema_version").map_err(failed)?;
    let latency = begun.elapsed();
    let size = source.size(PATIENCE, run)?;
    let mode: String = source.ask("PRAGMA journal_mode", PATIENCE, run)?;
    let tables = schema::tables(connection, "main").map_err(failed)?;
    Ok(Probe {
        server_version: library_version(),
        latency_ms: u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
        size: Some(size),
        tables: tables.iter().filter(|table| !table.is_shadow()).count() as u64,
        tool: None,
        read_only: Some(rustix::fs::access(&source.path, Access::WRITE_OK).is_err()),
        account: None,
        connection: None,
        replication: None,
        warnings: warnings(&source, &mode),
    })
}

/// What makes backups or the database itself less safe than it looks.
pub(super) fn warnings(source: &Source, mode: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    let network = rustix::fs::statfs(&source.path)
        .ok()
        .and_then(|stat| NETWORK.iter().find(|(magic, _)| *magic == stat.f_type).map(|(_, name)| *name));
    if let Some(name) = network {
        warnings.push(match mode {
            "wal" => format!("a write-ahead log does not work across machines and the file is on {name}: keep it on a local disk"),
            _ => format!("the file is on {name}, where locks are not always kept: keep it on a local disk"),
        });
    }
    if matches!(mode, "off" | "memory") {
        warnings.push(format!("journal mode '{mode}': a crash of the application can damage the database"));
    }
    warnings
}
