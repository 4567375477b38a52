//! A server of HTTP that keeps what it receives and answers as it is told.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, Response, Uri},
};
use serde_json::Value;
use tokio::net::TcpListener;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|cause| panic!("{cause}: {}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// What the sink says of a request: status and body.
pub type Judge = fn(&Received) -> (u16, String);

pub struct Sink {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    /// Answers that go before the judge's.
    first: Arc<Mutex<VecDeque<(u16, String)>>>,
}

#[derive(Clone)]
struct Shared {
    judge: Judge,
    received: Arc<Mutex<Vec<Received>>>,
    first: Arc<Mutex<VecDeque<(u16, String)>>>,
}

impl Sink {
    pub async fn start(judge: Judge) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (received, first) = (Arc::default(), Arc::default());
        let shared = Shared { judge, received: Arc::clone(&received), first: Arc::clone(&first) };
        let router = Router::new().fallback(take).with_state(shared);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, received, first }
    }

    /// `http://127.0.0.1:port`
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers the next request like this, whatever it is.
    pub fn answer(&self, status: u16, body: &str) {
        self.first.lock().unwrap().push_back((status, body.to_owned()));
    }

    /// What came since the last call.
    pub fn taken(&self) -> Vec<Received> {
        std::mem::take(&mut self.received.lock().unwrap())
    }
}

async fn take(State(shared): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let received = Received { method: method.to_string(), path: uri.to_string(), headers, body: String::from_utf8(body.to_vec()).unwrap() };
    let told = shared.first.lock().unwrap().pop_front();
    let (status, body) = told.unwrap_or_else(|| (shared.judge)(&received));
    shared.received.lock().unwrap().push(received);
    let mut answer = Response::builder().status(status);
    if (300..400).contains(&status) {
        answer = answer.header("location", &body);
    }
    answer.body(Body::from(body)).unwrap()
}
