//! The loops that run as long as the product does: when each came round last, and how often one hit a fault.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::domain::time::Moment;

/// One loop, as it may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopView {
    pub name: &'static str,
    /// When it came round last, or began.
    pub seen_at: Moment,
    /// How long ago that is, by a clock that nobody sets.
    pub silence: Duration,
    /// A loop that is silent for longer is taken for dead.
    pub allowed: Duration,
    /// Turns that ended in a fault of the product, and ends of the whole loop. Each was followed by another turn.
    pub faults: u64,
}

/// The register of loops.
#[derive(Default)]
pub struct Loops(Mutex<BTreeMap<&'static str, Entry>>);

struct Entry {
    seen: (Instant, Moment),
    allowed: Duration,
    faults: u64,
}

impl Loops {
    /// The loop begins, for the first time or again, and is meant to come round at least every `allowed`.
    pub fn begin(&self, name: &'static str, allowed: Duration) {
        let mut register = self.register();
        let faults = register.get(name).map_or(0, |entry| entry.faults);
        register.insert(name, Entry { seen: now(), allowed, faults });
    }

    /// The loop has come round.
    pub fn turned(&self, name: &str) {
        if let Some(entry) = self.register().get_mut(name) {
            entry.seen = now();
        }
    }

    /// A turn of the loop, or the loop itself, ended in a fault.
    pub fn faulted(&self, name: &str) {
        if let Some(entry) = self.register().get_mut(name) {
            entry.faults += 1;
        }
    }

    /// The loop has ended because it was asked to.
    pub fn leave(&self, name: &str) {
        self.register().remove(name);
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<LoopView> {
        let view = |(name, entry): (&&'static str, &Entry)| {
            let (since, seen_at) = entry.seen;
            LoopView { name, seen_at, silence: since.elapsed(), allowed: entry.allowed, faults: entry.faults }
        };
        self.register().iter().map(view).collect()
    }

    /// A panic elsewhere leaves the register whole: every change is one assignment.
    fn register(&self) -> MutexGuard<'_, BTreeMap<&'static str, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> (Instant, Moment) {
    (Instant::now(), Moment::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted_over_a_new_beginning_and_a_loop_that_was_asked_to_end_is_not_missed() {
        let loops = Loops::default();
        loops.begin("sweep", Duration::from_secs(60));
        loops.faulted("sweep");
        loops.begin("sweep", Duration::from_secs(60));
        loops.turned("unknown");
        let [only] = &loops.list()[..] else { panic!("one loop") };
        assert_eq!((only.name, only.faults, only.silence < only.allowed), ("sweep", 1, true));
        loops.leave("sweep");
        assert_eq!(loops.list(), []);
    }
}
