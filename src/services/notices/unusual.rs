//! Backups that are much larger or smaller than those before them: often the first sign of a lost table or a runaway one.

use super::{group, raise, setting, words};
use crate::{
    db,
    domain::{
        amount,
        backup::Backup,
        ids::OrganizationId,
        notice::{NoticeEvent, Severity},
    },
    error::Result,
    services::{Ctx, system},
};

/// Earlier backups that are compared with, and how many are needed at least.
const COMPARED: u32 = 10;
const NEEDED: usize = 3;

/// Tells of a size or a count of rows that is off the median of the last good backups by more than the settings allow.
pub(super) async fn look(ctx: &Ctx, organization: OrganizationId, backup: &Backup) -> Result<()> {
    let Some(database) = backup.database_id else { return Ok(()) };
    let settings = system::settings(ctx).await?;
    let schedule = backup.schedule_id.map(|id| id.to_string());
    let before = db::alerts::measures(&ctx.db, database, schedule.clone(), backup.created_at, COMPARED).await?;
    let sizes: Vec<_> = before.iter().map(|(bytes, _)| *bytes).collect();
    let rows: Vec<_> = before.iter().map(|(_, rows)| *rows).collect();
    let name = &backup.database_name;
    for (event, setting_name, noun, now, earlier, show) in [
        (NoticeEvent::SizeUnusual, "sizeChangePercent", "size", backup.plain_size(), sizes, amount::size as fn(u64) -> String),
        (NoticeEvent::RowsUnusual, "rowsChangePercent", "row count", backup.rows(), rows, amount::count),
    ] {
        let Some((usual, change)) = change(now, &earlier, setting(&settings, setting_name, 50)) else { continue };
        let (direction, severity) = if now < usual { ("dropped", Severity::Error) } else { ("jumped", Severity::Warning) };
        let title = format!("The {noun} of {name}'s backup {direction} by {change} %");
        let mut notice = words::notice(ctx, event, severity, name, title);
        notice.what = format!(
            "This backup has {}; the last {} good ones have {} in the middle. The backup itself is complete.",
            show(now),
            earlier.len(),
            show(usual)
        );
        notice.next_step = match now < usual {
            true => "Check that no table was emptied or dropped by mistake: compare this backup with the one before it. Pin the earlier one if something is missing, so that retention keeps it.",
            false => "Check whether the growth is meant: compare this backup with the one before it, and see that the store has room.",
        }
        .into();
        notice.link = words::link(ctx, &format!("/backups/{}", backup.id));
        notice.database_id = Some(database);
        // A drop after a jump is other news, and graver: it is not held back as a repeat.
        notice.group = format!("{event}:{direction}:{}", group(database, schedule.clone()));
        notice.facts.extend([("Now".into(), show(now)), ("Usual".into(), show(usual))]);
        raise(ctx, organization, notice, &format!("{event}:{}", backup.id)).await?;
    }
    Ok(())
}

/// The usual value and the change in percent when it is larger than `percent` (0: never told). A handful of small
/// values is too few to know what is usual.
fn change(now: u64, earlier: &[u64], percent: i64) -> Option<(u64, u64)> {
    let percent = u128::try_from(percent).ok().filter(|percent| *percent > 0)?;
    if earlier.len() < NEEDED {
        return None;
    }
    let mut sorted = earlier.to_vec();
    sorted.sort_unstable();
    let usual = sorted[sorted.len() / 2];
    let change = u128::from(now.abs_diff(usual)) * 100;
    match usual {
        0 => None,
        _ if change > u128::from(usual) * percent => Some((usual, u64::try_from(change / u128::from(usual)).unwrap_or(u64::MAX))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_beyond_the_threshold_in_either_direction() {
        let usual = [100, 98, 103, 101, 5000];
        assert_eq!(change(51, &usual, 50), None, "not quite half");
        assert_eq!(change(49, &usual, 50), Some((101, 51)));
        assert_eq!(change(0, &usual, 50), Some((101, 100)));
        assert_eq!(change(400, &usual, 50), Some((101, 296)));
        assert_eq!(change(400, &usual, 0), None, "switched off");
        assert_eq!(change(400, &[1, 1], 50), None, "too few");
        assert_eq!(change(400, &[0, 0, 0], 50), None, "an empty database fills");
        assert!(change(u64::MAX, &[1, 1, 1], 50).is_some());
    }
}
