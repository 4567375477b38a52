//! `dbsnap schedule`: when a cron expression is due.

use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat};
use clap::Subcommand;
use serde_json::Value;

use crate::{
    domain::{
        cron::{self, Cron},
        time::Moment,
    },
    error::{Error, Result},
};

/// Plan schedules; needs no server.
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Next(NextArgs),
}

/// Print the next moments at which a cron expression is due.
///
/// A fixed time that the clocks skip runs once, at the next valid moment; one that repeats runs once, the first time.
/// A pattern with `*` or a step in minute or hour keeps its real interval. Day of month and day of week both given mean either.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  dbsnap schedule next --cron '30 2 * * *' --tz Europe/Berlin --from 2026-03-28T00:00:00Z --count 3 --json"
)]
struct NextArgs {
    /// Five fields (minute, hour, day of month, month, day of week) or @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually.
    #[arg(long, value_name = "EXPR")]
    cron: String,
    /// IANA time zone.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    tz: String,
    /// Later than this moment, such as 2026-03-28T00:00:00Z; now when left out.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// How many, at most 10000.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    count: u16,
    /// Print a JSON list of UTC moments.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Next(args) => next(&args),
    }
}

fn next(args: &NextArgs) -> Result<ExitCode> {
    let zone = cron::zone(&args.tz)?;
    let from = args.from.as_deref().map_or_else(|| Ok(Moment::now()), moment)?;
    let runs = Cron::parse(&args.cron)?.next_runs(zone, from, usize::from(args.count));
    let utc = |run: &Moment| run.utc().to_rfc3339_opts(SecondsFormat::Secs, true);
    if args.json {
        println!("{}", runs.iter().map(utc).collect::<Value>());
        return Ok(ExitCode::SUCCESS);
    }
    for run in &runs {
        println!("{}  {}", utc(run), run.utc().with_timezone(&zone).format("%a %Y-%m-%d %H:%M %Z"));
    }
    Ok(ExitCode::SUCCESS)
}

fn moment(text: &str) -> Result<Moment> {
    let parsed = DateTime::parse_from_rfc3339(text.trim());
    parsed.map(|time| Moment(time.timestamp_millis())).map_err(|cause| {
        Error::validation(format!("--from '{text}' is not a moment: {cause}")).hint("write it with its zone, such as 2026-03-28T00:00:00Z")
    })
}
