//! The plan: for each backup whether it is kept, and why.

use super::{Action, Decision, Entry, EntryStatus, Policy, RetentionMode, bucket::Rule};
use crate::domain::time::Moment;

const DAY_MS: i64 = 86_400_000;

/// Decides over every entry of `history`, in its order. The order of the input changes no decision.
///
/// Without a policy everything is kept. `limit_days` is the installation's hard limit: what is older goes whatever the
/// policy says, except the newest good backup and what is held. Backups that end in the future (a clock was set back)
/// are kept and take nobody's place.
pub fn plan(policy: Option<&Policy>, history: &[Entry], now: Moment, limit_days: Option<u32>) -> Vec<Decision> {
    let order = newest_first(history, now);
    let mut reasons: Vec<Vec<String>> = history.iter().map(|entry| always_kept(entry, now)).collect();
    if let Some(newest) = order.first() {
        reasons[*newest].push("the newest good backup".into());
    }
    let any_good = history.iter().any(is_good);
    for (index, entry) in history.iter().enumerate() {
        if entry.status == EntryStatus::Corrupt && !any_good {
            reasons[index].push("damaged, but there is no good backup".into());
        }
    }
    let by_rule = match policy {
        Some(policy) => by_rule(policy, history, &order, now),
        None => (0..history.len()).map(|index| (index, vec!["no retention policy applies".into()])).collect(),
    };
    let limit = limit_days.map(|days| (days, oldest_within(days, now)));
    for (index, found) in by_rule {
        if limit.is_none_or(|(_, oldest)| ended(&history[index]) >= oldest) {
            reasons[index].extend(found);
        }
    }
    let decided = history.iter().zip(reasons).map(|(entry, reasons)| {
        let action = if reasons.is_empty() { Action::Delete } else { Action::Keep };
        let reasons = if reasons.is_empty() { vec![why_deleted(entry, limit)] } else { reasons };
        Decision { id: entry.id.clone(), action, reasons }
    });
    decided.collect()
}

/// How many are kept, how many are deleted, and the bytes that these hold.
pub fn totals(decisions: &[Decision], history: &[Entry]) -> (usize, usize, u64) {
    let deleted: Vec<_> = decisions.iter().zip(history).filter(|(decision, _)| decision.action == Action::Delete).collect();
    (decisions.len() - deleted.len(), deleted.len(), deleted.iter().map(|(_, entry)| entry.size_bytes).sum())
}

fn is_good(entry: &Entry) -> bool {
    entry.status == EntryStatus::Completed
}

/// When it ended. One without a time is kept by [`always_kept`], and no rule sees it.
fn ended(entry: &Entry) -> Moment {
    entry.completed_at.unwrap_or(Moment(i64::MIN))
}

/// The good ones that rules walk over: newest first, of equal moments the larger id first.
fn newest_first(history: &[Entry], now: Moment) -> Vec<usize> {
    let countable = |index: &usize| is_good(&history[*index]) && history[*index].completed_at.is_some_and(|at| at <= now);
    let mut order: Vec<usize> = (0..history.len()).filter(countable).collect();
    order.sort_by(|a, b| (ended(&history[*b]), &history[*b].id).cmp(&(ended(&history[*a]), &history[*a].id)));
    order
}

/// Reasons that no policy and no limit is asked about.
fn always_kept(entry: &Entry, now: Moment) -> Vec<String> {
    let mut reasons = Vec::new();
    if entry.pinned {
        reasons.push("pinned".into());
    }
    if entry.in_use {
        reasons.push("in use".into());
    }
    reasons.extend(entry.held.clone());
    match (entry.status, entry.completed_at) {
        (EntryStatus::Queued | EntryStatus::Running, _) => reasons.push(format!("still {}", entry.status)),
        (_, Some(at)) if at > now => reasons.push("dated in the future".into()),
        (EntryStatus::Completed | EntryStatus::Corrupt, None) => reasons.push("it has no time of completion to judge it by".into()),
        _ => {}
    }
    reasons
}

/// What the policy's mode keeps, with the reasons. `order` holds the good ones, newest first.
fn by_rule(policy: &Policy, history: &[Entry], order: &[usize], now: Moment) -> Vec<(usize, Vec<String>)> {
    match policy.mode {
        RetentionMode::Standard => standard(policy, history, order),
        RetentionMode::Size => {
            let all = order.iter().map(|index| (*index, Vec::new())).collect();
            within_size(policy, history, all)
        }
        RetentionMode::Age => {
            let all = order.iter().map(|index| (*index, Vec::new())).collect();
            within_age(policy, history, all, now)
        }
        RetentionMode::Hybrid => within_size(policy, history, within_age(policy, history, standard(policy, history, order), now)),
    }
}

fn standard(policy: &Policy, history: &[Entry], order: &[usize]) -> Vec<(usize, Vec<String>)> {
    let mut rules = Rule::all(policy);
    let mut kept = Vec::new();
    for index in order {
        if rules.iter().all(Rule::is_full) {
            break;
        }
        let at = ended(&history[*index]).utc().with_timezone(&policy.timezone);
        let reasons: Vec<_> = rules.iter_mut().filter_map(|rule| rule.take(&at)).collect();
        if !reasons.is_empty() {
            kept.push((*index, reasons));
        }
    }
    kept
}

/// The newest of these, up to the first with which their total exceeds the limit; at least one.
fn within_size(policy: &Policy, history: &[Entry], kept: Vec<(usize, Vec<String>)>) -> Vec<(usize, Vec<String>)> {
    let Some(limit) = policy.max_total_bytes else { return kept };
    let mut total: u64 = 0;
    let mut fitting = Vec::new();
    for (index, mut reasons) in kept {
        total = total.saturating_add(history[index].size_bytes);
        if total > limit && !fitting.is_empty() {
            break;
        }
        if total <= limit {
            reasons.push(format!("{total} of {limit} bytes with all newer ones"));
        }
        fitting.push((index, reasons));
    }
    fitting
}

/// Those of these that are not older than the limit; at least one.
fn within_age(policy: &Policy, history: &[Entry], kept: Vec<(usize, Vec<String>)>, now: Moment) -> Vec<(usize, Vec<String>)> {
    let Some(days) = policy.max_age_days else { return kept };
    let oldest = oldest_within(days, now);
    let mut young = Vec::new();
    for (index, mut reasons) in kept {
        let fits = ended(&history[index]) >= oldest;
        if !fits && !young.is_empty() {
            break;
        }
        if fits {
            reasons.push(format!("not older than {days} day{}", if days == 1 { "" } else { "s" }));
        }
        young.push((index, reasons));
    }
    young
}

fn oldest_within(days: u32, now: Moment) -> Moment {
    now.plus(-i64::from(days) * DAY_MS)
}

fn why_deleted(entry: &Entry, limit: Option<(u32, Moment)>) -> String {
    match (entry.status, limit) {
        (EntryStatus::Completed | EntryStatus::Corrupt, Some((days, oldest))) if ended(entry) < oldest => {
            format!("older than the limit of {days} days for all backups")
        }
        (EntryStatus::Completed, _) => "no rule keeps it".into(),
        (EntryStatus::Corrupt, _) => "damaged, it counts for nothing".into(),
        (status, _) => format!("{status}: it holds no data and counts for nothing"),
    }
}
