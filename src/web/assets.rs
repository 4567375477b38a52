//! Style sheet, scripts and icons, embedded in the binary and served under names that change with their content.

use axum::{
    body::Body,
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use rust_embed::RustEmbed;

use super::error::Failure;
use crate::error::Error;

#[derive(RustEmbed)]
#[folder = "static/"]
struct Assets;

/// The address of an asset: its name and a piece of its digest, so that it may be cached for ever.
pub fn url(name: &str) -> String {
    match Assets::get(name) {
        Some(file) => format!("/static/{name}?v={}", hex::encode(&file.metadata.sha256_hash()[..6])),
        None => format!("/static/{name}"),
    }
}

/// GET /static/{name}. With the current `?v=` it may be kept a year, otherwise it is asked for again by ETag.
pub async fn serve(Path(name): Path<String>, uri: axum::http::Uri, headers: HeaderMap) -> Result<Response, Failure> {
    let file = Assets::get(&name).ok_or_else(|| Error::not_found(format_args!("/static/{name}")))?;
    let digest = hex::encode(&file.metadata.sha256_hash()[..6]);
    let etag = format!("\"{digest}\"");
    let versioned = uri.query().is_some_and(|query| query == format!("v={digest}"));
    let caching = if versioned { "public, max-age=31536000, immutable" } else { "public, no-cache" };
    let common = [(header::ETAG, etag.clone()), (header::CACHE_CONTROL, caching.to_owned())];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|seen| seen.as_bytes() == etag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    let kind = file.metadata.mimetype().to_owned();
    Ok((common, [(header::CONTENT_TYPE, kind)], Body::from(file.data.into_owned())).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_asset_the_base_template_names_is_embedded() {
        for name in ["app.css", "app.js", "icons.svg", "favicon.svg", "vendor/htmx.min.js", "vendor/htmx-sse.min.js"] {
            assert!(url(name).contains("?v="), "{name} is missing");
        }
    }
}
