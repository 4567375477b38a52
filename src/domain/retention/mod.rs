//! Retention: which backups are kept, and why. Pure: (policy, history, now) to keep or delete.

use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize};

use super::{backup::text_enum, ids::PolicyId, time::Moment};
use crate::error::{Error, Result};

mod bucket;
mod group;
mod plan;
#[cfg(test)]
mod tests;

pub use group::{Group, GroupPlan, PlannedBackup};
pub use plan::{plan, totals};

text_enum! {
    RetentionMode {
        /// The newest of each of the last hours, days, weeks, months, years.
        Standard = "standard",
        /// The newest, as long as their total stays within a size.
        Size = "size",
        /// Those that are not older than a number of days.
        Age = "age",
        /// What standard keeps, within a size and an age.
        Hybrid = "hybrid",
    }
}

/// What is kept. The fields are those of `dbsnap retention plan --policy`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    pub mode: RetentionMode,
    /// The newest good backup of each of so many most recent hours that hold one; likewise below.
    #[serde(default, deserialize_with = "or_zero")]
    pub keep_hourly: u32,
    #[serde(default, deserialize_with = "or_zero")]
    pub keep_daily: u32,
    #[serde(default, deserialize_with = "or_zero")]
    pub keep_weekly: u32,
    #[serde(default, deserialize_with = "or_zero")]
    pub keep_monthly: u32,
    #[serde(default, deserialize_with = "or_zero")]
    pub keep_yearly: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_total_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_days: Option<u32>,
    /// The zone that hours, days, weeks, months and years are of.
    #[serde(default = "utc", deserialize_with = "or_utc")]
    #[schema(value_type = String, example = "Europe/Berlin")]
    pub timezone: Tz,
}

impl Policy {
    /// Errors, naming the field, when the mode lacks what it goes by: such a policy would keep nothing but the newest.
    pub fn check(&self) -> Result<()> {
        let keeps = [self.keep_hourly, self.keep_daily, self.keep_weekly, self.keep_monthly, self.keep_yearly];
        let (field, missing) = match self.mode {
            RetentionMode::Standard | RetentionMode::Hybrid if keeps.iter().all(|count| *count == 0) => {
                ("keepDaily", "one of keepHourly, keepDaily, keepWeekly, keepMonthly and keepYearly must be above 0")
            }
            RetentionMode::Size if self.max_total_bytes.is_none() => ("maxTotalBytes", "the mode 'size' needs it"),
            RetentionMode::Age if self.max_age_days.is_none() => ("maxAgeDays", "the mode 'age' needs it"),
            _ => return Ok(()),
        };
        Err(Error::validation(format!("the retention policy of mode '{}' does not say what to keep", self.mode))
            .fields(vec![(field.into(), missing.into())]))
    }
}

/// A missing number is no limit to keep by: zero.
fn or_zero<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> std::result::Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn utc() -> Tz {
    Tz::UTC
}

fn or_utc<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Tz, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(utc))
}

/// A stored policy.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetentionPolicy {
    pub id: PolicyId,
    pub name: String,
    #[serde(flatten)]
    pub policy: Policy,
    pub created_at: Moment,
    pub updated_at: Moment,
}

text_enum! {
    /// What became of a backup, as far as retention minds.
    EntryStatus {
        Queued = "queued",
        Running = "running",
        /// Good: the only ones that any rule counts.
        Completed = "completed",
        Failed = "failed",
        Cancelled = "cancelled",
        Interrupted = "interrupted",
        /// A verification found it damaged.
        Corrupt = "corrupt",
    }
}

/// One backup, as retention sees it. The fields are those of `dbsnap retention plan --history`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    pub id: String,
    /// When it ended; only one that is queued or running has none.
    #[serde(default)]
    pub completed_at: Option<Moment>,
    pub status: EntryStatus,
    #[serde(default, deserialize_with = "or_zero")]
    pub size_bytes: u64,
    #[serde(default, deserialize_with = "or_zero")]
    pub pinned: bool,
    /// A restore or a comparison reads it.
    #[serde(default, deserialize_with = "or_zero")]
    pub in_use: bool,
    /// Why it is kept whatever the policy says, when its surroundings demand it.
    #[serde(skip)]
    pub held: Option<String>,
}

text_enum! {
    Action {
        Keep = "keep",
        Delete = "delete",
    }
}

/// What happens to one backup, and every reason for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    pub id: String,
    pub action: Action,
    /// Short sentences such as `daily 3 of 7 (2026-11-19)`; never empty.
    pub reasons: Vec<String>,
}
