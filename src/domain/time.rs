//! Moments in time: milliseconds since 1970, UTC. In JSON they are RFC 3339 text.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment in milliseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, utoipa::ToSchema)]
#[schema(value_type = String, format = DateTime)]
pub struct Moment(pub i64);

impl Moment {
    pub fn now() -> Self {
        Self(Utc::now().timestamp_millis())
    }

    /// The same moment as a calendar type; an out-of-range value becomes the epoch.
    pub fn utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }

    /// This many milliseconds later, or earlier when negative.
    pub fn plus(self, milliseconds: i64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }

    /// Milliseconds from `earlier` to this moment, never negative.
    pub fn since(self, earlier: Moment) -> u64 {
        u64::try_from(self.0 - earlier.0).unwrap_or(0)
    }
}

/// Where the product's own decisions take the time from: what is due, what is old, what has expired. Leases, timeouts
/// and measured durations do not: they are about the machine.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    #[default]
    System,
    /// Stands still until it is set: years pass in seconds in tests.
    Simulated(Arc<AtomicI64>),
}

impl Clock {
    pub fn simulated(at: Moment) -> Self {
        Self::Simulated(Arc::new(AtomicI64::new(at.0)))
    }

    pub fn now(&self) -> Moment {
        match self {
            Self::System => Moment::now(),
            Self::Simulated(at) => Moment(at.load(Ordering::SeqCst)),
        }
    }

    /// Sets a simulated clock, forward or back. The system's clock is not ours to set: that call does nothing.
    pub fn set(&self, to: Moment) {
        if let Self::Simulated(at) = self {
            at.store(to.0, Ordering::SeqCst);
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        DateTime::parse_from_rfc3339(&text)
            .map(|time| Self(time.timestamp_millis()))
            .map_err(|_| de::Error::custom(format_args!("'{text}' is no moment with its offset, such as 2026-11-21T03:00:00Z")))
    }
}
