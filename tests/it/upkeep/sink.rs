//! An HTTP server that really receives, and answers as it is told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, Uri},
};
use tokio::{net::TcpListener, sync::Notify};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub method: String,
    /// Path and query.
    pub address: String,
    pub body: String,
}

#[derive(Default)]
struct Inner {
    received: Mutex<Vec<Received>>,
    /// Answers to come; then 200.
    answers: Mutex<VecDeque<u16>>,
    arrived: Notify,
}

#[derive(Clone)]
pub struct Sink {
    inner: Arc<Inner>,
    pub base: String,
}

impl Sink {
    /// Answers with these statuses first, and with 200 from then on.
    pub async fn start(answers: &[u16]) -> Self {
        let inner = Arc::new(Inner { answers: Mutex::new(answers.iter().copied().collect()), ..Inner::default() });
        let router = Router::new().fallback(take).with_state(Arc::clone(&inner));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { inner, base }
    }

    pub fn received(&self) -> Vec<Received> {
        self.inner.received.lock().unwrap().clone()
    }

    /// Waits until so many requests have arrived.
    pub async fn wait(&self, count: usize) -> Vec<Received> {
        let waiting = async {
            loop {
                let arrived = self.inner.arrived.notified();
                if self.received().len() >= count {
                    return self.received();
                }
                arrived.await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        waited.unwrap_or_else(|_| panic!("{count} requests expected, but there are {:?}", self.received()))
    }
}

async fn take(State(inner): State<Arc<Inner>>, method: Method, uri: Uri, body: Bytes) -> StatusCode {
    let body = String::from_utf8_lossy(&body).into_owned();
    inner.received.lock().unwrap().push(Received { method: method.to_string(), address: uri.to_string(), body });
    let status = inner.answers.lock().unwrap().pop_front().unwrap_or(200);
    inner.arrived.notify_waiters();
    StatusCode::from_u16(status).unwrap()
}
