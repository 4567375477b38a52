//! `dbsnap retention plan`: what a retention policy keeps of a history; a calculator for planning and for scripts.

use std::{collections::HashSet, path::Path, process::ExitCode};

use clap::Subcommand;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    domain::{
        retention::{Decision, Entry, Policy, plan, totals},
        time::Moment,
    },
    error::{Context, Error, Kind, Result},
};

/// Work out what a retention policy keeps; deletes nothing and needs no server.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  dbsnap retention plan --policy policy.json --history history.json --now 2026-11-21T03:00:00Z --json\n\npolicy.json:\n  {\"mode\": \"standard\", \"keepDaily\": 7, \"keepWeekly\": 4, \"timezone\": \"Europe/Berlin\"}\nhistory.json:\n  [{\"id\": \"a\", \"completedAt\": \"2026-11-20T03:00:00Z\", \"status\": \"completed\", \"sizeBytes\": 1024, \"pinned\": false}]"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Plan(PlanArgs),
}

/// Tell for each backup of a history whether a policy keeps it, and why.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  dbsnap retention plan --policy policy.json --history history.json --now 2026-11-21T03:00:00Z --json")]
struct PlanArgs {
    /// JSON file: mode (standard, size, age or hybrid), keepHourly, keepDaily, keepWeekly, keepMonthly, keepYearly,
    /// maxTotalBytes, maxAgeDays, timezone.
    #[arg(long, value_name = "FILE")]
    policy: std::path::PathBuf,
    /// JSON file: a list of backups, each with id, completedAt, status, sizeBytes, pinned.
    #[arg(long, value_name = "FILE")]
    history: std::path::PathBuf,
    /// The moment to judge at, such as 2026-11-21T03:00:00Z; now when left out.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    now: Option<Moment>,
    /// A hard limit on the age of all backups, days, as MAX_BACKUP_RETENTION_DAYS is for the server.
    #[arg(long, value_name = "DAYS")]
    max_days: Option<u32>,
    /// Print the plan as JSON, in the order of the history.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let Command::Plan(args) = args.command;
    let policy: Policy = read(&args.policy, "a retention policy", Value::is_object, "an object")?;
    policy.check()?;
    let history: Vec<Entry> = read(&args.history, "a history of backups", Value::is_array, "a list")?;
    let mut seen = HashSet::new();
    if let Some(entry) = history.iter().find(|entry| !seen.insert(entry.id.as_str())) {
        return Err(Error::validation(format!("the history has the backup '{}' twice", entry.id)));
    }
    let decisions = plan(Some(&policy), &history, args.now.unwrap_or_else(Moment::now), args.max_days);
    if args.json {
        let text = serde_json::to_string_pretty(&decisions).context(Kind::Internal, || "writing the plan".into())?;
        println!("{text}");
    } else {
        print_table(&decisions, &history);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_table(decisions: &[Decision], history: &[Entry]) {
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let ids = width(&mut decisions.iter().map(|decision| decision.id.chars().count()));
    for (decision, entry) in decisions.iter().zip(history) {
        let at = entry.completed_at.map_or_else(|| "-".to_owned(), |at| at.to_string());
        println!("{:<6}  {:<ids$}  {at:<24}  {}", decision.action.to_string(), decision.id, decision.reasons.join(", "));
    }
    let (kept, deleted, bytes) = totals(decisions, history);
    println!("{kept} kept, {deleted} deleted, {bytes} bytes freed");
}

/// Errors naming the file and, where the JSON is read but does not fit, the place in it, such as `[3].completedAt`.
fn read<T: DeserializeOwned>(path: &Path, what: &str, fits: fn(&Value) -> bool, form: &str) -> Result<T> {
    let naming = || format!("reading {what} from {}", path.display());
    let text = std::fs::read_to_string(path).context(Kind::Validation, naming)?;
    let value: Value = serde_json::from_str(&text).context(Kind::Validation, naming)?;
    if !fits(&value) {
        return Err(Error::validation(format!("{}: it must be {form}", naming())));
    }
    serde_path_to_error::deserialize(value).context(Kind::Validation, naming)
}

fn moment(text: &str) -> std::result::Result<Moment, String> {
    serde_json::from_value(Value::from(text)).map_err(|cause: serde_json::Error| cause.to_string())
}
