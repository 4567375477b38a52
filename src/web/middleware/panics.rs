//! A panic in one request is that request's error and nobody else's.

use std::any::Any;

use axum::{body::Body, http::Response, response::IntoResponse};

use crate::{error::Error, web::error::Failure};

pub fn answer(panic: Box<dyn Any + Send + 'static>) -> Response<Body> {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Failure(Error::internal("this request hit a fault in the product").source(said.unwrap_or("panic"))).into_response()
}
