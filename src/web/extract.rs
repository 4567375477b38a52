//! What handlers take from a request. Every refusal is one of our errors, so that it is answered in our own shape.

use std::{fmt::Display, ops::Deref, str::FromStr};

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Path, Request, rejection::JsonRejection},
    http::{Uri, request::Parts},
};
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::{error::Failure, middleware::identity::Identity};
use crate::{
    domain::permissions::Actor,
    error::{Error, Kind},
};

/// Who acts. Only routes behind `middleware::identity::require` take it; elsewhere it answers UNAUTHORIZED.
pub struct User(pub Identity);

impl Deref for User {
    type Target = Actor;

    fn deref(&self) -> &Actor {
        &self.0.actor
    }
}

impl<S: Send + Sync> FromRequestParts<S> for User {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts.extensions.get::<Identity>().cloned().map(Self).ok_or_else(|| unauthorized().into())
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for User {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Failure> {
        Ok(parts.extensions.get::<Identity>().cloned().map(Self))
    }
}

/// The error for a request without a valid session or key.
pub fn unauthorized() -> Error {
    Error::new(Kind::Unauthorized, "you are not signed in").hint("sign in, or send an API key as `Authorization: Bearer <key>`")
}

/// The one id in a path; text that is no id is NOT_FOUND, as an unknown id is.
pub struct Id<T>(pub T);

impl<S: Send + Sync, T: FromStr<Err = Error>> FromRequestParts<S> for Id<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Path(text) =
            <Path<String> as FromRequestParts<S>>::from_request_parts(parts, state).await.map_err(|cause| invalid("the address", cause))?;
        Ok(Self(text.parse()?))
    }
}

/// An id in a path and a name behind it.
pub struct IdAndName<T>(pub T, pub String);

impl<S: Send + Sync, T: FromStr<Err = Error>> FromRequestParts<S> for IdAndName<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = <Path<(String, String)> as FromRequestParts<S>>::from_request_parts(parts, state).await;
        let Path((id, name)) = path.map_err(|cause| invalid("the address", cause))?;
        Ok(Self(id.parse()?, name))
    }
}

/// Query parameters. An empty one (`?status=`, as forms send it) counts as absent.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let pairs = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let given = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs.filter(|pair| !pair.1.is_empty())).finish();
        let uri: Uri = format!("/?{given}").parse().map_err(|cause| invalid("the query", cause))?;
        let query = axum::extract::Query::try_from_uri(&uri).map_err(|cause| invalid("the query", cause.body_text()))?;
        Ok(Self(query.0))
    }
}

/// A JSON body.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(JsonRejection::MissingJsonContentType(_)) => {
                Err(Error::validation("the body is not JSON").hint("send it with `Content-Type: application/json`").into())
            }
            Err(cause) => Err(invalid("the body", cause.body_text())),
        }
    }
}

/// A posted form, in the order of its fields.
#[derive(Debug, Default, Clone)]
pub struct Form(pub Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let form = axum::Form::<Vec<(String, String)>>::from_request(request, state).await;
        form.map(|form| Self(form.0)).map_err(|cause| invalid("the form", cause.body_text()))
    }
}

impl Form {
    /// The field's text, without surrounding white space; `""` when it was not sent.
    pub fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The field's text as typed; for passwords.
    pub fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|field| field.0 == name).map_or("", |field| field.1.as_str())
    }

    /// True when the field was sent at all, as ticked boxes are.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|field| field.0 == name)
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |field| field.0 == name).map(|field| field.1.as_str())
    }

    /// `None` when blank.
    pub fn parse<T: FromStr<Err = Error>>(&self, name: &str) -> Result<Option<T>, Error> {
        match self.text(name) {
            "" => Ok(None),
            text => text.parse().map(Some),
        }
    }
}

/// True for a request that htmx sent for a part of a page.
pub struct Htmx(pub bool);

impl<S: Send + Sync> FromRequestParts<S> for Htmx {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.headers.contains_key("hx-request")))
    }
}

fn invalid(what: &str, cause: impl Display) -> Failure {
    Error::validation(format!("{what} cannot be read: {cause}")).hint("see /api/openapi.json for what this address takes").into()
}
