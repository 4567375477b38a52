//! The form of a retention policy, with what it would do to backups that are there.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono_tz::Tz;

use super::lines::{self, GROUPS};
use crate::{
    domain::{
        fields::{Field, FieldKind},
        ids::DatabaseId,
        retention::{Action, Group, GroupPlan, Policy, RetentionMode, RetentionPolicy},
    },
    error::{Error, Result},
    services::{
        Ctx,
        retention::{self, ManualRetention, PolicyInput, PolicyView},
    },
    web::{
        error::{Failure, message, status},
        extract::{Form, User},
        filters,
        forms::{self, FormField},
        html::{Layout, render},
    },
};

const LARGEST: i64 = 10_000;

/// How many of each period are kept.
const KEEPS: &[Field] = &[
    Field::new("keepHourly", "Hours", FieldKind::Integer { min: 0, max: LARGEST }).default("0"),
    Field::new("keepDaily", "Days", FieldKind::Integer { min: 0, max: LARGEST }).default("0"),
    Field::new("keepWeekly", "Weeks", FieldKind::Integer { min: 0, max: LARGEST }).default("0"),
    Field::new("keepMonthly", "Months", FieldKind::Integer { min: 0, max: LARGEST }).default("0"),
    Field::new("keepYearly", "Years", FieldKind::Integer { min: 0, max: LARGEST }).default("0"),
];

const LIMITS: &[Field] = &[
    Field::new("maxTotalBytes", "Size of all", FieldKind::Text).help("Such as 500 MB, 50 GB or 2 TB."),
    Field::new("maxAgeDays", "Age, days", FieldKind::Integer { min: 1, max: 36_500 }),
];

const NAMED: &[Field] = &[
    Field::new("name", "Name", FieldKind::Text).required().help("Such as: 7 days, 4 weeks, 12 months."),
    Field::new("timezone", "Time zone", FieldKind::Text)
        .required()
        .help("Where days begin: an IANA name such as Europe/Berlin or America/New_York."),
];

/// Value, title, explanation.
const MODES: &[(&str, &str, &str)] = &[
    ("standard", "By period", "The newest backup of each of the last hours, days, weeks, months and years that have one."),
    ("size", "By size", "The newest ones, as long as all together are not larger than a size."),
    ("age", "By age", "Those that are not older than a number of days."),
    ("hybrid", "By period, within limits", "As by period, then without the oldest that exceed a size or an age."),
];

/// Units of sizes, the largest first.
const UNITS: &[(&str, u64)] = &[("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1000), ("B", 1)];

/// What stands in the form, under the names of its fields.
pub struct PolicyForm(Form);

impl PolicyForm {
    /// A new policy, filled with what suits most.
    pub fn blank(ctx: &Ctx) -> Self {
        let zone = ctx.config.tz.name();
        let filled = [("mode", "standard"), ("keepDaily", "7"), ("keepWeekly", "4"), ("keepMonthly", "12"), ("timezone", zone)];
        Self(Form(filled.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()))
    }

    pub fn stored(stored: &RetentionPolicy) -> Self {
        let policy = &stored.policy;
        let filled = [
            ("name", stored.name.clone()),
            ("mode", policy.mode.to_string()),
            ("keepHourly", policy.keep_hourly.to_string()),
            ("keepDaily", policy.keep_daily.to_string()),
            ("keepWeekly", policy.keep_weekly.to_string()),
            ("keepMonthly", policy.keep_monthly.to_string()),
            ("keepYearly", policy.keep_yearly.to_string()),
            ("maxTotalBytes", policy.max_total_bytes.map(size_text).unwrap_or_default()),
            ("maxAgeDays", policy.max_age_days.map(|days| days.to_string()).unwrap_or_default()),
            ("timezone", policy.timezone.name().to_owned()),
        ];
        Self(Form(filled.map(|(name, value)| (name.to_owned(), value)).to_vec()))
    }

    /// As it was sent.
    pub fn typed(form: &Form) -> Self {
        Self(form.clone())
    }

    fn fields(&self, fields: &[Field], error: Option<&Error>) -> Vec<FormField> {
        let values = fields.iter().map(|field| (field.name.to_owned(), self.0.text(field.name).into())).collect();
        forms::draw("", fields, &values, &[], error.map_or(&[], |error| &error.fields))
    }
}

#[derive(Template)]
#[template(path = "pages/retention/form.html")]
struct Page {
    layout: Layout,
    stored: Option<PolicyView>,
    named: Vec<FormField>,
    modes: &'static [(&'static str, &'static str, &'static str)],
    mode: String,
    keeps: Vec<FormField>,
    limits: Vec<FormField>,
    problem: Option<(String, Option<String>)>,
    databases: Vec<ManualRetention>,
    /// Whose backups the preview is of; `None`: of those that the policy applies to.
    database: Option<DatabaseId>,
    /// `None` while the form cannot be read.
    plans: Option<Vec<GroupPlan>>,
    /// Groups that are not shown.
    more: usize,
}

/// Draws the form with its preview and what was wrong.
pub async fn draw(
    ctx: &Ctx,
    user: &User,
    layout: Layout,
    stored: Option<PolicyView>,
    form: PolicyForm,
    error: Option<Error>,
) -> Result<Response, Failure> {
    // Nothing is wrong with the fields of someone who may not change them.
    if let Some(error) = error.as_ref().filter(|error| error.kind == crate::error::Kind::Forbidden) {
        return Err(Error::new(error.kind, error.context.clone()).into());
    }
    let databases = retention::manual(ctx, user).await?;
    let used = stored.as_ref().is_some_and(|stored| !stored.used_by.is_empty());
    let first = databases.first().map(|database| database.database_id).filter(|_| !used);
    let chosen = form.0.parse("database")?.or(first);
    let policy = read(&form.0).and_then(|input| input.policy.check().map(|()| input.policy));
    let mut plans = match policy {
        Ok(policy) => Some(plans(ctx, user, stored.as_ref(), chosen, policy).await?),
        Err(_) => None,
    };
    let more = plans.as_ref().map_or(0, |plans| plans.len().saturating_sub(GROUPS as usize));
    if let Some(plans) = &mut plans {
        plans.truncate(GROUPS as usize);
    }
    let title = stored.as_ref().map_or_else(|| "New retention policy".to_owned(), |stored| format!("Edit {}", stored.policy.name));
    let page = Page {
        layout: layout.titled(title),
        named: form.fields(NAMED, error.as_ref()),
        modes: MODES,
        mode: form.0.text("mode").to_owned(),
        keeps: form.fields(KEEPS, error.as_ref()),
        limits: form.fields(LIMITS, error.as_ref()),
        problem: error.as_ref().map(|error| (message(error), error.hint.clone())),
        stored,
        databases,
        database: chosen,
        plans,
        more,
    };
    // htmx shows an error only when it is told that it may.
    Ok((error.as_ref().map_or(StatusCode::OK, status), [("x-fragment", "form")], render(ctx, &page)?).into_response())
}

/// What the policy as typed would do: to one database, or where the stored one applies.
async fn plans(
    ctx: &Ctx,
    user: &User,
    stored: Option<&PolicyView>,
    database: Option<DatabaseId>,
    policy: Policy,
) -> Result<Vec<GroupPlan>> {
    let (None, Some(stored)) = (database, stored) else {
        return match database {
            Some(id) => retention::preview(ctx, user, Some(id), Some(policy)).await,
            None => Ok(Vec::new()),
        };
    };
    let applies = retention::preview_of(ctx, user, stored.policy.id, None).await?;
    let groups: Vec<Group> = applies.iter().map(|plan| plan.group).collect();
    let all = retention::preview(ctx, user, None, Some(policy)).await?;
    Ok(all.into_iter().filter(|plan| groups.contains(&plan.group)).collect())
}

/// The policy that a sent form stands for. Errors with every field that cannot be read.
pub fn read(form: &Form) -> Result<PolicyInput> {
    let mut problems = Vec::new();
    let mut number = |name: &str, least: u32| match form.text(name) {
        "" => None,
        text => match text.parse::<u32>() {
            Ok(number) if number >= least => Some(number),
            _ => {
                problems.push((name.to_owned(), format!("must be a number from {least}")));
                None
            }
        },
    };
    let mut keep = |name: &str| number(name, 0).unwrap_or(0);
    let keeps = [keep("keepHourly"), keep("keepDaily"), keep("keepWeekly"), keep("keepMonthly"), keep("keepYearly")];
    let max_age_days = number("maxAgeDays", 1);
    let max_total_bytes = match form.text("maxTotalBytes") {
        "" => None,
        text => parse_size(text).or_else(|| {
            problems.push(("maxTotalBytes".into(), "must be a size such as 50 GB".into()));
            None
        }),
    };
    let timezone = form.text("timezone").parse::<Tz>().unwrap_or_else(|_| {
        problems.push(("timezone".into(), "is no IANA time zone such as Europe/Berlin".into()));
        Tz::UTC
    });
    let mode: RetentionMode = form.text("mode").parse()?;
    if !problems.is_empty() {
        return Err(Error::validation("the retention policy is not valid").fields(problems));
    }
    let [keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly] = keeps;
    let policy = Policy { mode, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly, max_total_bytes, max_age_days, timezone };
    Ok(PolicyInput { name: form.text("name").to_owned(), policy })
}

/// What a policy keeps, in words.
pub fn sentence(policy: &Policy) -> String {
    let periods = [
        (policy.keep_hourly, "hour"),
        (policy.keep_daily, "day"),
        (policy.keep_weekly, "week"),
        (policy.keep_monthly, "month"),
        (policy.keep_yearly, "year"),
    ];
    let plural = |(count, noun): (u32, &str)| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let periods: Vec<_> = periods.into_iter().filter(|period| period.0 > 0).map(plural).collect();
    let mut parts = Vec::new();
    if matches!(policy.mode, RetentionMode::Standard | RetentionMode::Hybrid) {
        parts.push(format!("the newest of each of {}", periods.join(", ")));
    }
    if let (RetentionMode::Size | RetentionMode::Hybrid, Some(bytes)) = (policy.mode, policy.max_total_bytes) {
        parts.push(format!("within {}", size_text(bytes)));
    }
    if let (RetentionMode::Age | RetentionMode::Hybrid, Some(days)) = (policy.mode, policy.max_age_days) {
        parts.push(format!("not older than {}", plural((days, "day"))));
    }
    parts.join(", ")
}

/// Bytes of `50 GB`, `1.5 TB`, `1000`; `None` when it is no size.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = (text[..split].trim(), text[split..].trim());
    let unit = if unit.is_empty() { "B" } else { unit };
    let factor = UNITS.iter().find(|known| known.0.eq_ignore_ascii_case(unit)).map(|known| known.1)?;
    let bytes = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(factor)?,
        Err(_) => (number.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0)? * factor as f64).round() as u64,
    };
    (bytes > 0 && bytes <= i64::MAX as u64).then_some(bytes)
}

/// A size as it was typed: exact, in the largest unit that divides it.
fn size_text(bytes: u64) -> String {
    let (unit, factor) = UNITS.iter().find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor)).unwrap_or(&("B", 1));
    format!("{} {unit}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them_and_shown_exactly() {
        for (text, bytes) in [("50 GB", 50_000_000_000), ("1.5tb", 1_500_000_000_000), ("1000", 1000), ("7 b", 7)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
            assert_eq!(parse_size(&size_text(bytes)), Some(bytes), "{text}");
        }
        for text in ["", "GB", "-1 GB", "0", "1 GiBs", "99999999999 TB", "nan GB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn a_stored_policy_comes_back_from_its_form() {
        let policy: Policy = serde_json::from_value(serde_json::json!({
            "mode": "hybrid", "keepDaily": 7, "keepWeekly": 1, "maxTotalBytes": 1_234_567, "maxAgeDays": 1, "timezone": "Asia/Kathmandu"
        }))
        .unwrap();
        let now = crate::domain::time::Moment(0);
        let id = crate::domain::ids::PolicyId::new();
        let stored = RetentionPolicy { id, name: "a".into(), policy: policy.clone(), created_at: now, updated_at: now };
        assert_eq!(read(&PolicyForm::stored(&stored).0).unwrap().policy, policy);
        assert_eq!(sentence(&policy), "the newest of each of 7 days, 1 week, within 1234567 B, not older than 1 day");
    }
}
