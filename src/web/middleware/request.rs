//! The request id, the caller's or a new one, on every log line of the request and in its answer, and one line per request.

use std::time::Instant;

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::Instrument;
use uuid::Uuid;

/// Finds a request in the log.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

pub async fn trace(mut request: Request, next: Next) -> Response {
    let id = given(&request).unwrap_or_else(|| Uuid::new_v4().simple().to_string());
    let span = tracing::info_span!("request", request_id = %id, method = %request.method(), path = %request.uri().path());
    // Asked every few seconds by machines: not worth a line at the usual level.
    let quiet = ["/static/", "/api/health/"].iter().any(|prefix| request.uri().path().starts_with(prefix));
    request.extensions_mut().insert(RequestId(id.clone()));
    let started = Instant::now();
    async move {
        let mut response = next.run(request).await;
        let (status, ms) = (response.status().as_u16(), started.elapsed().as_millis() as u64);
        if quiet {
            tracing::debug!(status, ms, "answered");
        } else {
            tracing::info!(status, ms, "answered");
        }
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(HEADER, value);
        }
        response
    }
    .instrument(span)
    .await
}

/// The id that a proxy or a program gave the request; one that could be mistaken for more than an id counts as none.
fn given(request: &Request) -> Option<String> {
    let id = request.headers().get(HEADER)?.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    ((1..=64).contains(&id.len()) && id.bytes().all(plain)).then(|| id.to_owned())
}
