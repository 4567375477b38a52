//! What a list can be narrowed by. The names are those of the API's query parameters.

use chrono::{DateTime, NaiveDate, NaiveTime};
use serde::{Deserialize, Deserializer, de};

use super::{
    backup::{BackupStatus, BackupType},
    diff::DiffStatus,
    ids::{BackupId, DatabaseId, JobId, ProjectId},
    job::{JobKind, JobStatus, LogLevel},
    project::Environment,
    restore::RestoreStatus,
    time::Moment,
};

#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct DatabaseFilter {
    /// Part of the name.
    #[serde(deserialize_with = "blank_is_none")]
    pub q: Option<String>,
    #[serde(deserialize_with = "blank_is_none")]
    pub engine: Option<String>,
    #[serde(deserialize_with = "blank_is_none")]
    pub project_id: Option<ProjectId>,
}

#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct ProjectFilter {
    /// Part of the name.
    #[serde(deserialize_with = "blank_is_none")]
    pub q: Option<String>,
    #[serde(deserialize_with = "blank_is_none")]
    pub environment: Option<Environment>,
}

#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct BackupFilter {
    #[serde(deserialize_with = "blank_is_none")]
    pub database_id: Option<DatabaseId>,
    #[serde(deserialize_with = "blank_is_none")]
    pub status: Option<BackupStatus>,
    #[serde(rename = "type", deserialize_with = "blank_is_none")]
    pub kind: Option<BackupType>,
    /// Created at this moment (RFC 3339) or on this day (`2026-01-31`, UTC) or later.
    #[serde(rename = "startDate", deserialize_with = "from_moment_or_day")]
    #[param(value_type = Option<String>)]
    pub start: Option<Moment>,
    /// Created before or at this moment (RFC 3339), or on this day (`2026-01-31`, UTC) or earlier.
    #[serde(rename = "endDate", deserialize_with = "to_moment_or_day")]
    #[param(value_type = Option<String>)]
    pub end: Option<Moment>,
    /// Part of the database's name.
    #[serde(deserialize_with = "blank_is_none")]
    pub q: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct RestoreFilter {
    #[serde(deserialize_with = "blank_is_none")]
    pub database_id: Option<DatabaseId>,
    #[serde(deserialize_with = "blank_is_none")]
    pub status: Option<RestoreStatus>,
    /// Part of where it came from or where it went.
    #[serde(deserialize_with = "blank_is_none")]
    pub q: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct DiffFilter {
    /// Comparisons of this configured database.
    #[serde(deserialize_with = "blank_is_none")]
    pub database_id: Option<DatabaseId>,
    /// Comparisons with this backup on either side.
    #[serde(deserialize_with = "blank_is_none")]
    pub backup_id: Option<BackupId>,
    #[serde(deserialize_with = "blank_is_none")]
    pub status: Option<DiffStatus>,
    /// Part of the database's name or of what was compared.
    #[serde(deserialize_with = "blank_is_none")]
    pub q: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct JobFilter {
    #[serde(deserialize_with = "blank_is_none")]
    pub status: Option<JobStatus>,
    #[serde(deserialize_with = "blank_is_none")]
    pub kind: Option<JobKind>,
    #[serde(deserialize_with = "blank_is_none")]
    pub database_id: Option<DatabaseId>,
    /// `true`: only dead letters, which are out of attempts and were neither retried nor dropped since.
    pub dead: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct LogFilter {
    /// This level and those above it.
    #[serde(deserialize_with = "blank_is_none")]
    pub level: Option<LogLevel>,
    /// Part of the line.
    #[serde(deserialize_with = "blank_is_none")]
    pub q: Option<String>,
    /// Of jobs of this kind.
    #[serde(deserialize_with = "blank_is_none")]
    pub kind: Option<JobKind>,
    #[serde(deserialize_with = "blank_is_none")]
    pub job_id: Option<JobId>,
    /// Said at this moment (RFC 3339) or on this day (`2026-01-31`, UTC) or later.
    #[serde(rename = "startDate", deserialize_with = "from_moment_or_day")]
    #[param(value_type = Option<String>)]
    pub start: Option<Moment>,
    /// Said before or at this moment (RFC 3339), or on this day (`2026-01-31`, UTC) or earlier.
    #[serde(rename = "endDate", deserialize_with = "to_moment_or_day")]
    #[param(value_type = Option<String>)]
    pub end: Option<Moment>,
}

#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct ScheduleFilter {
    #[serde(deserialize_with = "blank_is_none")]
    pub database_id: Option<DatabaseId>,
    /// `true` for the enabled ones, `false` for the others.
    #[serde(deserialize_with = "flag")]
    pub enabled: Option<bool>,
    /// Part of the name.
    #[serde(deserialize_with = "blank_is_none")]
    pub q: Option<String>,
}

fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    match Option::<String>::deserialize(deserializer)?.as_deref() {
        None | Some("") => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => Err(de::Error::custom(format!("'{other}' is neither true nor false"))),
    }
}

/// A form sends an unused filter as `name=`, which means the same as leaving it out.
fn blank_is_none<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    match Option::<String>::deserialize(deserializer)? {
        None => Ok(None),
        Some(text) if text.is_empty() => Ok(None),
        Some(text) => T::deserialize(de::value::StringDeserializer::new(text)).map(Some),
    }
}

fn from_moment_or_day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Moment>, D::Error> {
    edge(deserializer, 0)
}

fn to_moment_or_day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Moment>, D::Error> {
    // The last millisecond of the day: `endDate=2026-01-31` holds the whole day.
    edge(deserializer, 24 * 60 * 60 * 1000 - 1)
}

/// A moment as it is written, or the millisecond `into_day` of a day.
fn edge<'de, D: Deserializer<'de>>(deserializer: D, into_day: i64) -> Result<Option<Moment>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(Some(Moment(day.and_time(NaiveTime::MIN).and_utc().timestamp_millis() + into_day)));
    }
    match DateTime::parse_from_rfc3339(&text) {
        Ok(moment) => Ok(Some(Moment(moment.timestamp_millis()))),
        Err(_) => Err(de::Error::custom(format!("'{text}' is neither a day (2026-01-31) nor a moment (2026-01-31T12:00:00Z)"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_blank_filter_is_no_filter_and_a_day_is_all_of_it() {
        let filter: BackupFilter =
            serde_json::from_value(json!({"status": "", "databaseId": "", "startDate": "2026-01-31", "endDate": "2026-01-31", "q": ""}))
                .unwrap();
        assert!(filter.status.is_none() && filter.database_id.is_none() && filter.q.is_none());
        assert_eq!(filter.end.unwrap().since(filter.start.unwrap()), 86_399_999);
        let filter: BackupFilter = serde_json::from_value(json!({"type": "daily", "endDate": "2026-01-31T01:00:00+01:00"})).unwrap();
        assert_eq!(filter.kind, Some(BackupType::Daily));
        assert_eq!(filter.end.unwrap().to_string(), "2026-01-31T00:00:00.000Z");
    }

    #[test]
    fn a_filter_that_means_nothing_is_refused() {
        for wrong in [json!({"status": "done"}), json!({"startDate": "yesterday"}), json!({"databaseId": "7"})] {
            assert!(serde_json::from_value::<BackupFilter>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
