//! What notifiers were told, and everything that was worth telling.

use std::sync::Arc;

use axum::extract::State;

use crate::{
    domain::{
        ids::NotifierId,
        notice::{Delivery, Notice},
        page::PageRequest,
    },
    services::{
        Ctx,
        notices::{self, notifiers},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, Query, User},
    },
};

/// What a notifier was told and what came of it, newest first.
#[utoipa::path(get, path = "/api/notifiers/{id}/deliveries", tag = "notifiers", params(("id" = NotifierId, Path), PageRequest),
    responses((status = 200, body = Envelope<Vec<Delivery>>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<NotifierId>,
    Query(page): Query<PageRequest>,
) -> Result<Envelope<Vec<Delivery>>, Failure> {
    Ok(envelope::page(notifiers::deliveries(&ctx, &user, id, page).await?))
}

/// What happened that somebody may want to be told, newest first, whether anybody was told or not.
#[utoipa::path(get, path = "/api/notices", tag = "notifiers", params(PageRequest), responses((status = 200, body = Envelope<Vec<Notice>>)))]
pub async fn api_notices(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Query(page): Query<PageRequest>,
) -> Result<Envelope<Vec<Notice>>, Failure> {
    Ok(envelope::page(notices::list(&ctx, &user, page).await?))
}
