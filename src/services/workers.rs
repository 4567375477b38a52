//! Who works: the workers of this process and what each of them does.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tokio::sync::Notify;

use crate::domain::{ids::JobId, time::Moment};

/// One worker, as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerView {
    /// Counts from 1 since the start of the process.
    pub id: u32,
    pub state: WorkerState,
    pub job_id: Option<JobId>,
    /// How long it has been in this state.
    pub since: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// Looks at the queue.
    Idle,
    Running,
}

/// The register of workers.
#[derive(Default)]
pub struct Workers {
    register: Mutex<Register>,
    /// Woken when a worker came, went, or changed its state.
    pub changed: Notify,
}

#[derive(Default)]
struct Register {
    /// False before the workers were started, and where there are none.
    started: bool,
    last: u32,
    workers: BTreeMap<u32, WorkerView>,
}

impl Workers {
    /// Records that there are meant to be workers from now on.
    pub fn start(&self) {
        self.register().started = true;
    }

    pub fn started(&self) -> bool {
        self.register().started
    }

    /// A new worker, unless there are `most` already.
    pub fn enter(&self, most: usize) -> Option<u32> {
        let mut register = self.register();
        if register.workers.len() >= most {
            return None;
        }
        register.last += 1;
        let id = register.last;
        register.workers.insert(id, WorkerView { id, state: WorkerState::Idle, job_id: None, since: Moment::now() });
        Some(id)
    }

    /// Lets an idle worker go, unless only `fewest` would be missing one then. True when it has left.
    pub fn retire(&self, id: u32, fewest: usize) -> bool {
        let mut register = self.register();
        register.workers.len() > fewest && register.workers.remove(&id).is_some()
    }

    /// The worker is gone, however it ended.
    pub fn leave(&self, id: u32) {
        self.register().workers.remove(&id);
        self.changed.notify_one();
    }

    /// What the worker does from now on.
    pub fn set(&self, id: u32, job_id: Option<JobId>) {
        let state = if job_id.is_some() { WorkerState::Running } else { WorkerState::Idle };
        if let Some(worker) = self.register().workers.get_mut(&id) {
            *worker = WorkerView { id, state, job_id, since: Moment::now() };
        }
        self.changed.notify_one();
    }

    pub fn count(&self) -> usize {
        self.register().workers.len()
    }

    pub fn idle(&self) -> usize {
        self.register().workers.values().filter(|worker| worker.state == WorkerState::Idle).count()
    }

    pub fn list(&self) -> Vec<WorkerView> {
        self.register().workers.values().cloned().collect()
    }

    /// A panic elsewhere leaves the register whole: every change is one assignment.
    fn register(&self) -> MutexGuard<'_, Register> {
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_workers_than_allowed_and_never_fewer_than_wanted() {
        let workers = Workers::default();
        let ids = [workers.enter(2).unwrap(), workers.enter(2).unwrap()];
        assert_eq!(workers.enter(2), None);
        workers.set(ids[0], Some(JobId::new()));
        assert_eq!((workers.count(), workers.idle()), (2, 1));
        assert!(workers.retire(ids[1], 1) && !workers.retire(ids[0], 1));
        workers.leave(ids[0]);
        assert_eq!((workers.count(), workers.enter(2)), (0, Some(3)));
    }
}
