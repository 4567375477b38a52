//! `dbsnap snapshot show`: rows of one table.

use std::{path::PathBuf, process::ExitCode};

use crate::{
    config::Config,
    domain::{
        browse::{RowPage, RowQuery},
        diff::ValueView,
    },
    error::{Context, Error, Kind, Result},
    services::snapshots::{blocking, browse},
};

/// Characters of a value in a table; more are cut.
const WIDEST: usize = 40;

/// Show rows of a table, page by page or by key, without restoring anything.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  dbsnap snapshot show shop.snap customers --page 3\n  dbsnap snapshot show shop.snap customers --key 42"
)]
pub struct Args {
    /// A snapshot or a manifest.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The table, as name or schema.name.
    #[arg(value_name = "TABLE")]
    table: String,
    /// Which page, from 1.
    #[arg(long, default_value_t = 1)]
    page: u32,
    /// Rows on a page, up to 200.
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// The one row with this key; of several columns a JSON array of their values.
    #[arg(long)]
    key: Option<String>,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args, config: Config) -> Result<ExitCode> {
    let snapshot = super::open(&args.file, &config).await?;
    let query = RowQuery {
        page: args.page,
        limit: args.limit,
        full: args.json && args.key.is_some(),
        key: args.key.clone(),
        ..RowQuery::default()
    };
    let table = args.table.clone();
    let page = blocking("reading rows", move || browse::page_of(&snapshot, &table, &query)).await?;
    if let (Some(key), true) = (&args.key, page.rows.is_empty()) {
        return Err(Error::not_found(format_args!("a row with the key {key} in {}", page.table.label)));
    }
    if args.json {
        println!("{}", serde_json::to_string(&page).context(Kind::Internal, || "writing the page".into())?);
        return Ok(ExitCode::SUCCESS);
    }
    print(&page);
    Ok(ExitCode::SUCCESS)
}

fn print(page: &RowPage) {
    let heads: Vec<_> = page.table.columns.iter().map(|column| shorten(&column.name)).collect();
    let rows: Vec<Vec<_>> = page.rows.iter().map(|row| row.cells.iter().map(cell).collect()).collect();
    let widths: Vec<_> = heads
        .iter()
        .enumerate()
        .map(|(at, head)| rows.iter().filter_map(|row| row.get(at)).chain([head]).map(|text| text.chars().count()).max().unwrap_or(0))
        .collect();
    let line = |cells: &[String]| {
        let padded: Vec<_> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    println!("{}", line(&heads));
    for (row, cells) in page.rows.iter().zip(&rows) {
        let times = if row.count > 1 { format!("  ({} times)", row.count) } else { String::new() };
        println!("{}{times}", line(cells));
    }
    println!("{}: page {} of {}, {} rows", page.table.label, page.page, page.pages(), page.total.unwrap_or_default());
}

fn cell(value: &ValueView) -> String {
    value.text.as_deref().map_or_else(|| "NULL".to_owned(), shorten)
}

/// One line, cut; control characters cannot move the terminal's cursor.
fn shorten(text: &str) -> String {
    let mut shown: String =
        text.chars().take(WIDEST).flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] }).collect();
    if text.chars().nth(WIDEST).is_some() {
        shown.push('…');
    }
    shown
}
