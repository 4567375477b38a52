//! Without sign-in, answers only under names that nobody else can point here.
//!
//! A page of another site whose name is made to resolve to this machine (DNS rebinding) is same-origin for the browser,
//! so with AUTH_MODE=none it would be an administrator. Its requests carry the other site's name as their host.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{
    config::{AuthMode, Config},
    error::{Error, Kind},
    services::Ctx,
    web::error::Failure,
};

pub async fn check(State(ctx): State<Arc<Ctx>>, request: Request, next: Next) -> Response {
    // Liveness is no secret, and the refusal itself is drawn with the assets.
    let free = ["/api/health/", "/static/"].iter().any(|prefix| request.uri().path().starts_with(prefix));
    if ctx.config.auth_mode == AuthMode::None && !free {
        let host = host(&request);
        if !host.as_deref().is_some_and(|host| is_ours(&ctx.config, host)) {
            return refuse(host.as_deref().unwrap_or("")).into_response();
        }
    }
    next.run(request).await
}

/// The name that the request was sent to, without the port.
fn host(request: &Request) -> Option<String> {
    let named = |authority: &Authority| authority.host().to_owned();
    if let Some(authority) = request.uri().authority() {
        return Some(named(authority));
    }
    request.headers().get(header::HOST)?.to_str().ok()?.parse().ok().as_ref().map(named)
}

/// Addresses and names of one label (`localhost`, a container's name) are in no public DNS; the others are configured.
fn is_ours(config: &Config, host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let configured = config.base_url.as_ref().and_then(|url| url.host_str());
    address.parse::<IpAddr>().is_ok()
        || (!host.is_empty() && !host.contains('.'))
        || host.eq_ignore_ascii_case(&config.hostname)
        || configured.is_some_and(|name| host.eq_ignore_ascii_case(name))
}

fn refuse(host: &str) -> Failure {
    Error::new(Kind::Forbidden, format!("without sign-in (AUTH_MODE=none) nothing is answered under the name '{host}'"))
        .hint("open it by its address or as localhost, or set BASE_URL to the address people use")
        .into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn only_names_that_nobody_else_can_point_here_are_ours() {
        let vars = [("HOSTNAME", "backup.lan"), ("BASE_URL", "https://dbsnap.example.org/")];
        let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::from_vars(vars, Path::new("/")).unwrap();
        for host in ["127.0.0.1", "192.168.1.5", "[::1]", "localhost", "dbsnap", "Backup.LAN", "DBsnap.example.org"] {
            assert!(is_ours(&config, host), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "127.0.0.1.", "dbsnap.example.org.evil.example", "localhost.", ""] {
            assert!(!is_ours(&config, host), "{host}");
        }
    }
}
