//! The shape of every JSON answer: `{success, data?, error?: {code, message, details?}, meta?}`.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{page::Page, time::Moment},
    error::Error,
};

/// A successful answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Envelope<T> {
    #[schema(example = true)]
    pub success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<T>,
    pub meta: Meta,
}

/// When the answer was made and, for lists, which page of how many items it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Meta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    pub timestamp: Moment,
}

/// A refused or failed request.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorEnvelope {
    #[schema(example = false)]
    pub success: bool,
    pub error: ErrorBody,
    pub meta: Meta,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    #[schema(example = "NOT_FOUND")]
    pub code: &'static str,
    /// What was being done and why it failed, for people.
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<ErrorDetails>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDetails {
    /// The next step for the reader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// True when the same request may succeed later.
    pub retryable: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldProblem>,
    /// Finds the request in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct FieldProblem {
    pub field: String,
    pub message: String,
}

impl Meta {
    fn now() -> Self {
        Self { page: None, limit: None, total: None, timestamp: Moment::now() }
    }
}

impl<T: Serialize> IntoResponse for Envelope<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

/// 200 with data.
pub fn ok<T: Serialize>(data: T) -> Envelope<T> {
    Envelope { success: true, data: Some(data), meta: Meta::now() }
}

/// 200 with one page of a list.
pub fn page<T: Serialize>(page: Page<T>) -> Envelope<Vec<T>> {
    let meta = Meta { page: Some(page.page), limit: Some(page.limit), total: Some(page.total), timestamp: Moment::now() };
    Envelope { success: true, data: Some(page.items), meta }
}

/// 201 with what was made.
pub fn created<T: Serialize>(data: T) -> (StatusCode, Envelope<T>) {
    (StatusCode::CREATED, ok(data))
}

/// 202 with the job-like thing that now runs.
pub fn accepted<T: Serialize>(data: T) -> (StatusCode, Envelope<T>) {
    (StatusCode::ACCEPTED, ok(data))
}

/// The data of an answer that has none.
#[derive(Debug, Serialize, ToSchema)]
pub struct Nothing {}

/// An object whose keys depend on the engine or the version.
#[derive(Debug, Serialize, serde::Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub struct Open(pub serde_json::Map<String, serde_json::Value>);

/// 200 without data.
pub fn done() -> Envelope<Nothing> {
    Envelope { success: true, data: None, meta: Meta::now() }
}

/// The error as the API shows it. An internal error keeps its cause in the log; the answer carries the request id.
pub fn error(error: &Error, request_id: Option<String>) -> ErrorEnvelope {
    let fields = error.fields.iter().map(|(field, message)| FieldProblem { field: field.clone(), message: message.clone() }).collect();
    let details = ErrorDetails { hint: error.hint.clone(), retryable: error.retryable, fields, request_id };
    let body = ErrorBody { code: error.kind.code(), message: super::error::message(error), details: Some(details) };
    ErrorEnvelope { success: false, error: body, meta: Meta::now() }
}
