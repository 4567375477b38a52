//! How states look: always a sign and a word, colour only on top.

use crate::domain::{
    backup::{BackupStatus, VerifyState},
    copy::CopyStatus,
    diff::DiffStatus,
    job::JobStatus,
    notice::DeliveryStatus,
    restore::RestoreStatus,
};

/// Class, sign and word of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub class: &'static str,
    pub sign: &'static str,
    pub word: &'static str,
}

const fn look(class: &'static str, sign: &'static str, word: &'static str) -> Look {
    Look { class, sign, word }
}

const QUEUED: Look = look("", "○", "queued");
const RUNNING: Look = look("busy", "◐", "running");
const COMPLETED: Look = look("ok", "✓", "completed");
const FAILED: Look = look("bad", "✕", "failed");
const CANCELLED: Look = look("", "–", "cancelled");
const INTERRUPTED: Look = look("warn", "!", "interrupted");
const DELETING: Look = look("busy", "◐", "being deleted");

/// Anything that has a look.
pub trait State {
    fn look(&self) -> Look;
}

macro_rules! run_states {
    ($($name:ident),*) => {$(
        impl State for $name {
            fn look(&self) -> Look {
                match self {
                    Self::Queued => QUEUED,
                    Self::Running => RUNNING,
                    Self::Completed => COMPLETED,
                    Self::Failed => FAILED,
                    Self::Cancelled => CANCELLED,
                    Self::Interrupted => INTERRUPTED,
                }
            }
        }
    )*};
}
run_states!(DiffStatus, JobStatus, RestoreStatus);

impl State for BackupStatus {
    fn look(&self) -> Look {
        match self {
            Self::Queued => QUEUED,
            Self::Running => RUNNING,
            Self::Completed => COMPLETED,
            Self::Failed => FAILED,
            Self::Cancelled => CANCELLED,
            Self::Interrupted => INTERRUPTED,
            Self::Deleting => DELETING,
        }
    }
}

impl State for CopyStatus {
    fn look(&self) -> Look {
        match self {
            Self::Queued => QUEUED,
            Self::Complete => COMPLETED,
            Self::Failed => FAILED,
            Self::Damaged => look("bad", "✕", "damaged"),
            Self::Deleting => DELETING,
        }
    }
}

impl State for DeliveryStatus {
    fn look(&self) -> Look {
        match self {
            Self::Queued => QUEUED,
            Self::Sending => look("busy", "◐", "sending"),
            Self::Delivered => look("ok", "✓", "delivered"),
            Self::Failed => FAILED,
            Self::Grouped => look("", "–", "held back"),
        }
    }
}

impl State for VerifyState {
    fn look(&self) -> Look {
        match self {
            Self::Unverified => look("", "○", "not verified"),
            Self::Verified => look("ok", "✓", "verified"),
            Self::Corrupt => look("bad", "✕", "corrupt"),
        }
    }
}

impl<T: State> State for &T {
    fn look(&self) -> Look {
        (**self).look()
    }
}

/// The look of a state; templates call it.
pub fn of(state: impl State) -> Look {
    state.look()
}
