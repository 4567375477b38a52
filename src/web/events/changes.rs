//! /live: tells open pages that something changed, so that they ask for their changed part again.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::sse::{Event as Sent, KeepAlive, Sse},
};
use futures_util::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use tokio::time::{Instant, sleep_until};
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
    let told = Told { events: Box::pin(told), next: Instant::now(), waiting: true };
    let names = stream::unfold(told, Told::name);
    Ok(Sse::new(names.map(|name| Ok(Sent::default().event(name).data(name)))).keep_alive(KeepAlive::default()))
}

/// Between two `change`s: a little more than the pages wait between two looks, so that they pass none over.
const GAP: Duration = Duration::from_millis(1200);

/// What a page is told. Changes that follow each other closely are one, told when the gap is over: the last is never lost.
struct Told {
    events: BoxStream<'static, &'static str>,
    /// When the next change may be told.
    next: Instant,
    waiting: bool,
}

impl Told {
    async fn name(mut self) -> Option<(&'static str, Self)> {
        loop {
            tokio::select! {
                () = sleep_until(self.next), if self.waiting => {
                    self.waiting = false;
                    self.next = Instant::now() + GAP;
                    return Some(("change", self));
                }
                name = self.events.next() => match name? {
                    "change" => self.waiting = true,
                    name => return Some((name, self)),
                }
            }
        }
    }
}
