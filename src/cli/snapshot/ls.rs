//! `dbsnap snapshot ls`: what a snapshot holds.

use std::{path::PathBuf, process::ExitCode};

use serde_json::json;

use crate::{config::Config, error::Result, services::snapshots::browse};

/// List the tables of a snapshot with their rows, sizes and roots.
///
/// Only the end of the file is read. Equal roots of two snapshots under one key mean equal rows.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  dbsnap snapshot ls backups/shop_manual_20251116_143022_abc123.snap")]
pub struct Args {
    /// A snapshot or a manifest.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args, config: Config) -> Result<ExitCode> {
    let snapshot = super::open(&args.file, &config).await?;
    let facts = snapshot.facts();
    let tables = browse::table_list(&snapshot);
    if args.json {
        println!(
            "{}",
            json!({
                "engine": facts.engine, "database": facts.database, "moment": facts.moment, "serverVersion": facts.server_version,
                "dbsnapVersion": facts.dbsnap_version, "partial": facts.partial, "encrypted": snapshot.hash_key_id().is_some(),
                "keyId": snapshot.hash_key_id(), "size": snapshot.size(), "warnings": facts.warnings, "tables": tables,
            })
        );
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} ({}) as of {}, {} bytes", facts.database, facts.server_version, facts.moment, snapshot.size());
    let width = tables.iter().map(|table| table.label.chars().count()).max().unwrap_or(0).max(5);
    println!("{:width$}  {:>12}  {:>14}  root", "table", "rows", "bytes");
    for table in &tables {
        let sampled = table.sampled.map(|share| format!("  sample of {share}")).unwrap_or_default();
        println!("{:width$}  {:>12}  {:>14}  {}{sampled}", table.label, table.rows, table.bytes, &table.root[..16]);
    }
    for warning in &facts.warnings {
        eprintln!("warn: {warning}");
    }
    Ok(ExitCode::SUCCESS)
}
