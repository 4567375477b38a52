//! Refuses requests that another site's page sends with the reader's cookie, by Sec-Fetch-Site and Origin.

use axum::response::{IntoResponse, Response};
use tower_http::csrf::{CsrfLayer, ProtectionError};
use url::Url;

use crate::{
    error::{Error, Kind, Result},
    web::error::Failure,
};

/// How a refusal is answered.
type Refuse = fn(ProtectionError) -> Response;

/// `base_url` is trusted beside the request's own host: a proxy may change the host.
pub fn layer(base_url: Option<&Url>) -> Result<CsrfLayer<Refuse>> {
    let mut layer = CsrfLayer::new();
    if let Some(url) = base_url {
        layer = layer
            .add_trusted_origin(url.origin().ascii_serialization())
            .map_err(|cause| Error::validation(format!("BASE_URL {url} is not an http or https address: {cause}")))?;
    }
    Ok(layer.with_rejection_response(refuse as Refuse))
}

fn refuse(_: ProtectionError) -> Response {
    let error = Error::new(Kind::Forbidden, "this request came from another site's page, so it was refused")
        .hint("open the page here and try again; behind a proxy, set BASE_URL to the address people use");
    Failure(error).into_response()
}
