//! Retention: which backups are kept, and why. Pure: (policy, history, now) to keep or delete.

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{backup::text_enum, ids::PolicyId, time::Moment};

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
    #[serde(default)]
    pub keep_hourly: u32,
    #[serde(default)]
    pub keep_daily: u32,
    #[serde(default)]
    pub keep_weekly: u32,
    #[serde(default)]
    pub keep_monthly: u32,
    #[serde(default)]
    pub keep_yearly: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_total_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_days: Option<u32>,
    /// The zone that hours, days, weeks, months and years are of.
    #[serde(default = "utc")]
    #[schema(value_type = String)]
    pub timezone: Tz,
}

fn utc() -> Tz {
    Tz::UTC
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
