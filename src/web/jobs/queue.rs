//! The state of the queue.

use std::sync::Arc;

use axum::extract::State;

use crate::{
    services::{
        Ctx,
        jobs::state::{self, QueueState},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::User,
    },
};

/// How deep the queue is, by kind, and what each worker does.
#[utoipa::path(get, path = "/api/jobs/queue", tag = "jobs", responses((status = 200, body = Envelope<QueueState>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User) -> Result<Envelope<QueueState>, Failure> {
    Ok(envelope::ok(state::queue(&ctx, &user).await?))
}
