//! Taking in a dump that a person has as a file.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{FromRequest, Multipart, Request, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};

use crate::{
    domain::permissions::Permission,
    error::{Context, Error, Kind},
    services::{
        Ctx,
        restore::upload::{self, Upload},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::User,
    },
};

/// How long the rest of a refused upload is read.
const HEAR_OUT: Duration = Duration::from_secs(20);

/// A form with one file.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "documents the form")]
pub struct UploadForm {
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// Takes in a dump (a DBSnap artifact, `pg_dump -Fc`, plain SQL, a SQLite file; compressed or not) and says what it is.
/// It is kept for a day, to be restored with its id.
#[utoipa::path(post, path = "/api/restores/upload", tag = "restores",
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 201, body = Envelope<Upload>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, request: Request) -> Result<(StatusCode, Envelope<Upload>), Failure> {
    Ok(envelope::created(take_in(&ctx, &user, request).await?))
}

/// POST /restore/upload: the wizard's form, without scripts.
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, request: Request) -> Result<Response, Failure> {
    let upload = take_in(&ctx, &user, request).await?;
    Ok(Redirect::to(&format!("/restore/new?upload={}", upload.id)).into_response())
}

/// The bytes go from the socket to the file piece by piece; the service counts them against the limit.
async fn take_in(ctx: &Arc<Ctx>, user: &User, request: Request) -> Result<Upload, Failure> {
    user.require(Permission::Restore)?;
    let wrong =
        |cause: String| Error::validation(format!("the upload cannot be read: {cause}")).hint("send one file as multipart/form-data");
    let mut form = Multipart::from_request(request, ctx).await.map_err(|cause| wrong(cause.body_text()))?;
    while let Some(field) = form.next_field().await.context(Kind::Validation, || "reading the upload".into())? {
        let Some(name) = field.file_name().map(str::to_owned) else { continue };
        if name.is_empty() {
            break;
        }
        let taken = upload::upload(ctx, user, &name, field).await;
        if taken.is_err() {
            // A client that is still sending would see a broken connection instead of the reason: hear it out for a while.
            let rest = async { while let Ok(Some(_)) = form.next_field().await {} };
            let _ = tokio::time::timeout(HEAR_OUT, rest).await;
        }
        return Ok(taken?);
    }
    Err(wrong("it holds no file".into()).into())
}
