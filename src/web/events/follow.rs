//! Following one job: its stored log from a line on, then what happens, without a gap and without a line twice.

use std::{sync::Arc, time::Duration};

use axum::http::HeaderMap;
use futures_util::Stream;
use tokio::sync::{broadcast::error::RecvError, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    domain::{
        events::{Event, Progress},
        ids::JobId,
        job::{Job, LogLine},
        permissions::Actor,
    },
    error::Result,
    services::{Ctx, jobs},
};

/// Something that happened to the job.
pub enum Happening {
    Log(LogLine),
    Progress(Progress),
    /// It started, or was asked to stop.
    Changed(Job),
    /// It has ended; the last thing told.
    Over(Job),
}

/// A connection is ended after this long and made again by the browser: a session that was revoked then gets no more.
const LONGEST: Duration = Duration::from_secs(300);

/// How often the stored state is looked at even when nothing was told.
const LOOK: Duration = Duration::from_secs(5);

/// The line up to which a reconnecting browser has seen the log.
pub fn last_seen(headers: &HeaderMap) -> Option<i64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

/// Everything of the job after log line `after`.
pub fn job(ctx: Arc<Ctx>, actor: Actor, id: JobId, after: i64) -> impl Stream<Item = Happening> + Send {
    let (sender, receiver) = mpsc::channel(64);
    let follower = Follower { ctx, actor, id, seq: after, out: sender };
    tokio::spawn(async move {
        let (ctx, gone) = (Arc::clone(&follower.ctx), follower.out.clone());
        tokio::select! {
            () = gone.closed() => {}
            () = ctx.shutdown.cancelled() => {}
            () = tokio::time::sleep(LONGEST) => {}
            ended = follower.run() => {
                if let Err(error) = ended {
                    tracing::warn!(job_id = %id, %error, "the event stream of a job ended early");
                }
            }
        }
    });
    ReceiverStream::new(receiver)
}

struct Follower {
    ctx: Arc<Ctx>,
    actor: Actor,
    id: JobId,
    /// The last line that was told.
    seq: i64,
    out: mpsc::Sender<Happening>,
}

impl Follower {
    async fn run(mut self) -> Result<()> {
        // Listening starts before the stored log is read, so that no line falls between the two.
        let mut events = self.ctx.events.subscribe();
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(Event::Log { line }) if line.job_id == self.id => self.tell_line(line).await,
                    Ok(Event::Progress { job_id, progress }) if job_id == self.id => self.tell(Happening::Progress(progress)).await,
                    Ok(Event::Job { job_id, .. }) if job_id == self.id => if self.catch_up().await? { return Ok(()) },
                    Ok(_) => {}
                    // Some events were lost: the stored log has what they said.
                    Err(RecvError::Lagged(_)) => if self.catch_up().await? { return Ok(()) },
                    Err(RecvError::Closed) => return Ok(()),
                },
                // Its first tick is at once: this reads what is stored already.
                _ = look.tick() => if self.catch_up().await? { return Ok(()) },
            }
        }
    }

    /// Tells what is stored; true when the job is over and everything was told.
    async fn catch_up(&mut self) -> Result<bool> {
        // The state is read first: a job that is over by then has written its last line.
        let job = jobs::get(&self.ctx, &self.actor, self.id).await?;
        loop {
            let lines = jobs::logs(&self.ctx, &self.actor, self.id, None, self.seq).await?;
            if lines.is_empty() {
                break;
            }
            for line in lines {
                self.tell_line(line).await;
            }
        }
        if job.status.is_over() {
            self.tell(Happening::Over(job)).await;
            return Ok(true);
        }
        if let Some(progress) = job.progress.clone() {
            self.tell(Happening::Progress(progress)).await;
        }
        self.tell(Happening::Changed(job)).await;
        Ok(false)
    }

    async fn tell_line(&mut self, line: LogLine) {
        if line.seq > self.seq {
            self.seq = line.seq;
            self.tell(Happening::Log(line)).await;
        }
    }

    async fn tell(&self, happening: Happening) {
        // An error means that the reader has gone, which ends this task by itself.
        let _ = self.out.send(happening).await;
    }
}
