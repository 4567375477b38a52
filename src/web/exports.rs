//! Links to one download each.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};

use super::{
    backups::download,
    envelope::{self, Envelope},
    error::Failure,
    extract::{Body, User},
};
use crate::{
    domain::export::ExportRequest,
    error::Error,
    services::{
        Ctx,
        exports::{self, MadeLink, Taken},
    },
};

/// Makes a link to the rows of a table of a backup, or to the changes of one of a comparison. It works once, for 15 minutes,
/// and without a session.
#[utoipa::path(post, path = "/api/exports", tag = "exports", request_body = ExportRequest, responses((status = 201, body = Envelope<MadeLink>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Body(request): Body<ExportRequest>,
) -> Result<(StatusCode, Envelope<MadeLink>), Failure> {
    Ok(envelope::created(exports::make(&ctx, &user, request).await?))
}

/// GET /exports/{token}. A HEAD request, such as programs send that only look where a link leads, does not use it up.
pub async fn file(State(ctx): State<Arc<Ctx>>, method: Method, Path(token): Path<String>) -> Result<Response, Response> {
    if method == Method::HEAD {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let over = || {
        let error = Error::conflict("this link was used already, or its time is over").hint("ask for a new one where you got it");
        (StatusCode::GONE, Failure::from(error)).into_response()
    };
    match exports::take(&ctx, &token).await {
        Ok(Taken::File(file)) => Ok(download::answer(file)),
        Ok(Taken::Over) => Err(over()),
        Ok(Taken::Unknown) => Err(Failure::from(Error::not_found("this link").hint("check that the address is whole")).into_response()),
        Err(error) => Err(Failure::from(error).into_response()),
    }
}
