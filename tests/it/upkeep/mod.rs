//! What keeps the product itself in order, and what surrounds its backups: rotation, maintenance, long histories, hooks,
//! heartbeats, the logs of all jobs.

mod heartbeats;
mod hooks;
mod logs;
mod rotation;
mod scale;
mod sink;
