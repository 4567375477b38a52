//! How much of a plan a page shows. The API has it all.

use crate::domain::retention::{Action, GroupPlan, PlannedBackup};

/// Groups on a page.
pub const GROUPS: u32 = 10;

/// Backups of a group on a page.
pub const SHOWN: usize = 200;

/// The backups of a group that a page shows, newest first: all, or of many those that go, and as many of those that stay as there
/// is room for.
pub fn shown(plan: &GroupPlan) -> Vec<&PlannedBackup> {
    let goes = |backup: &&PlannedBackup| backup.action == Action::Delete;
    let going = plan.backups.iter().filter(goes).count().min(SHOWN);
    let (mut room_to_go, mut room_to_stay) = (going, SHOWN - going);
    let has_room = |backup: &&PlannedBackup| {
        let room = if goes(backup) { &mut room_to_go } else { &mut room_to_stay };
        let fits = *room > 0;
        *room -= usize::from(fits);
        fits
    };
    plan.backups.iter().filter(has_room).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        backup::{BackupType, VerifyState},
        ids::{BackupId, DatabaseId, StoreId},
        retention::Group,
    };

    /// A plan of so many backups, of which these go.
    fn plan(backups: usize, goes: impl Fn(usize) -> bool) -> GroupPlan {
        let planned = |n: usize| PlannedBackup {
            id: BackupId::new(),
            action: if goes(n) { Action::Delete } else { Action::Keep },
            reasons: vec![n.to_string()],
            kind: BackupType::Daily,
            completed_at: None,
            size_bytes: 1,
            pinned: false,
            verify_state: VerifyState::Unverified,
        };
        GroupPlan {
            group: Group { database_id: DatabaseId::new(), schedule_id: None, store_id: StoreId::LOCAL, partial: false, safety: false },
            database_name: "shop".into(),
            schedule_name: None,
            store_name: "Local".into(),
            policy_id: None,
            policy_name: None,
            backups: (0..backups).map(planned).collect(),
            kept: 0,
            deleted: 0,
            deleted_bytes: 0,
        }
    }

    fn numbers(plan: &GroupPlan) -> Vec<usize> {
        shown(plan).into_iter().map(|backup| backup.reasons[0].parse().unwrap()).collect()
    }

    #[test]
    fn what_goes_is_shown_before_what_stays_and_all_of_it_newest_first() {
        assert_eq!(numbers(&plan(3, |n| n == 1)), [0, 1, 2]);
        let few = numbers(&plan(1000, |n| n >= 990));
        assert_eq!((few.len(), few[189], few[190], few[199]), (SHOWN, 189, 990, 999));
        let many = numbers(&plan(1000, |n| n >= 100));
        assert_eq!((many.len(), many[0], many[199]), (SHOWN, 100, 299));
    }
}
