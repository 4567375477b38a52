//! The colours a reader chose, kept in a cookie; scripts do the same without a new page.

use axum::{
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use url::Url;

use crate::web::{error::Failure, extract::Query};

#[derive(Deserialize)]
pub struct Choice {
    set: Option<String>,
}

/// GET /theme?set=dark, then back to where the reader was.
pub async fn set(headers: HeaderMap, Query(choice): Query<Choice>) -> Result<Response, Failure> {
    let theme = match choice.set.as_deref() {
        Some("light") => "light",
        Some("dark") => "dark",
        _ => "system",
    };
    // Only the path of the page that asked is kept: the header could name any site.
    let back = headers.get(header::REFERER).and_then(|value| value.to_str().ok()).and_then(|text| Url::parse(text).ok());
    let back = back.map_or_else(|| "/".to_owned(), |url| format!("/{}", url.path().trim_start_matches(['/', '\\'])));
    let cookie = format!("theme={theme}; Path=/; Max-Age=31536000; SameSite=Lax");
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&back)).into_response())
}
