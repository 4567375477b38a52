//! Errors on their way out. A handler answers with [`Failure`]; `middleware::errors` later writes it as JSON, as a page or
//! as an htmx fragment, whichever the request asked for.

use std::{error::Error as _, sync::Arc};

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::error::{Error, Kind};

/// An error as a response without a body yet.
pub struct Failure(pub Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = status(&self.0).into_response();
        response.extensions_mut().insert(Arc::new(self.0));
        response
    }
}

/// The HTTP status of an error.
pub fn status(error: &Error) -> StatusCode {
    StatusCode::from_u16(error.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// What a person is told: context and causes, without hint and fields, which have their own places.
/// Of an internal error the causes stay in the log.
pub fn message(error: &Error) -> String {
    let mut text = error.context.clone();
    let mut cause = if error.kind == Kind::Internal { None } else { error.source() };
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}
