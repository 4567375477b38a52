//! /live: tells open pages that something changed, so that they ask for their changed part again.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::sse::{Event as Sent, KeepAlive, Sse},
};
use futures_util::{Stream, StreamExt, stream};
use tokio_stream::wrappers::BroadcastStream;

use crate::{
    domain::{events::Event, permissions::Permission},
    services::Ctx,
    web::{error::Failure, extract::User},
};

/// GET /live: `change` when a job or a backup changed its state, `tick` when one got further. The first `change` comes at once:
/// something may have changed between the page's making and this connection.
pub async fn follow(State(ctx): State<Arc<Ctx>>, user: User) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, Failure> {
    user.require(Permission::View)?;
    let ended = Arc::clone(&ctx);
    let end = async move {
        tokio::select! {
            () = ended.shutdown.cancelled() => {}
            () = tokio::time::sleep(Duration::from_secs(300)) => {}
        }
    };
    let told = BroadcastStream::new(ctx.events.subscribe()).take_until(end).filter_map(|event| {
        std::future::ready(match event {
            Ok(Event::Job { .. } | Event::Backup { .. }) => Some("change"),
            Ok(Event::Progress { .. }) => Some("tick"),
            Ok(Event::Log { .. }) => None,
            // Events were lost: one of them may have been a change.
            Err(_) => Some("change"),
        })
    });
    let names = stream::once(std::future::ready("change")).chain(told);
    Ok(Sse::new(names.map(|name| Ok(Sent::default().event(name).data(name)))).keep_alive(KeepAlive::default()))
}
