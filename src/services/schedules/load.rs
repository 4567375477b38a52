//! Whether the host or the database does too much for a backup to start now.

use crate::{
    domain::{
        ids::OrganizationId,
        schedule::{LoadCondition, Schedule},
    },
    error::{Context, Error, Kind, Result},
    services::{Ctx, databases},
};

/// Why a run has to wait; `None` when it may start, and when the load cannot be told: a backup is worth more than a condition.
pub(super) async fn above(ctx: &Ctx, organization: OrganizationId, schedule: &Schedule, condition: &LoadCondition) -> Option<String> {
    if let Some(most) = condition.max_host_load {
        match host_load() {
            Ok(load) if load >= most => return Some(format!("the host's load was {load:.2} per processor, and it starts below {most}")),
            Ok(_) => {}
            Err(error) => tracing::warn!(schedule = schedule.name, %error, "the host's load is not known: it starts without looking at it"),
        }
    }
    if let Some(most) = condition.max_active_connections {
        match active_connections(ctx, organization, schedule).await {
            Ok(Some(active)) if active >= most => {
                return Some(format!("the database had {active} active connections, and it starts below {most}"));
            }
            Ok(Some(_)) => {}
            Ok(None) => tracing::warn!(schedule = schedule.name, "the database does not tell its active connections: it starts without"),
            Err(error) => {
                tracing::warn!(schedule = schedule.name, %error, "active connections are not known: it starts without looking at them")
            }
        }
    }
    None
}

/// The load of the last minute per processor.
fn host_load() -> Result<f64> {
    let path = "/proc/loadavg";
    let text = std::fs::read_to_string(path).context(Kind::Internal, || format!("reading {path}"))?;
    let load: f64 =
        text.split(' ').next().and_then(|load| load.parse().ok()).ok_or_else(|| Error::internal(format!("{path} holds '{text}'")))?;
    let processors = std::thread::available_parallelism().context(Kind::Internal, || "counting processors".into())?;
    Ok(load / processors.get() as f64)
}

async fn active_connections(ctx: &Ctx, organization: OrganizationId, schedule: &Schedule) -> Result<Option<u32>> {
    databases::active_connections(ctx, organization, schedule.database_id).await
}
