//! Any address that takes JSON. The notice is sent as it is, signed.

use std::sync::Arc;

use async_trait::async_trait;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Notifier, NotifierInfo, NotifierKind, http::Outbound, service, text::bounded};
use crate::{
    domain::{
        database::Settings,
        fields::{Field, FieldKind, SettingsExt},
        notice::Notice,
        secret::Secret,
        time::Moment,
    },
    error::{Context, Kind, Result},
};

static INFO: NotifierInfo = NotifierInfo {
    id: "webhook",
    label: "Webhook",
    icon: "send",
    settings: &[
        Field::new("url", "URL", FieldKind::Text)
            .required()
            .binds_secrets()
            .help("Whoever may read the settings can read it: put tokens into the headers."),
        Field::new("secret", "Signing secret", FieldKind::Secret).help(
            "With it each request has X-DBSnap-Signature: sha256= and the hex HMAC-SHA256 of X-DBSnap-Timestamp, a dot and the body.",
        ),
        Field::new("headers", "Headers", FieldKind::SecretLines).help("One per line, such as Authorization: Bearer abc."),
        service::AUTHORITY,
    ],
};

/// Those that the request has by itself.
const OWN_HEADERS: &[&str] = &["host", "content-length", "content-type", "transfer-encoding", "connection"];

pub(super) struct Webhook;

impl NotifierKind for Webhook {
    fn info(&self) -> &'static NotifierInfo {
        &INFO
    }

    fn address(&self, settings: &Settings) -> String {
        service::place(settings.text("url"))
    }

    fn open(&self, settings: &Settings) -> Result<Arc<dyn Notifier>> {
        let headers = headers(settings.text("headers").unwrap_or_default())?;
        let secret = settings.text("secret").map(Secret::new);
        // Whole, and without the `Bearer` before it: a service may repeat only the token.
        let words = headers.iter().filter_map(|(_, value)| value.expose().split_once(' ')).map(|(_, word)| Secret::new(word));
        let hidden: Vec<_> = headers.iter().map(|(_, value)| value.clone()).chain(words).chain(secret.clone()).collect();
        Ok(Arc::new(Hook {
            http: Outbound::new("the webhook").trusting(service::authority(settings)?).hiding(hidden),
            url: service::address(settings, "url")?,
            secret,
            headers,
        }))
    }
}

struct Hook {
    http: Outbound,
    url: Secret,
    secret: Option<Secret>,
    headers: Vec<(String, Secret)>,
}

#[async_trait]
impl Notifier for Hook {
    async fn send(&self, notice: &Notice) -> Result<()> {
        let body = serde_json::to_string(&bounded(notice)).context(Kind::Internal, || "writing the notice as JSON".into())?;
        let (id, timestamp) = (notice.id.to_string(), (Moment::now().0 / 1000).to_string());
        let mut headers = vec![
            ("content-type", "application/json"),
            ("x-dbsnap-event", notice.event.as_str()),
            // The same at every try: whoever receives it twice can tell.
            ("x-dbsnap-delivery", id.as_str()),
            ("x-dbsnap-timestamp", timestamp.as_str()),
        ];
        let signature = self.secret.as_ref().map(|secret| sign(secret, &timestamp, &body)).transpose()?;
        headers.extend(signature.iter().map(|signature| ("x-dbsnap-signature", signature.as_str())));
        headers.extend(self.headers.iter().map(|(name, value)| (name.as_str(), value.expose())));
        let answer = self.http.post(self.url.expose(), &headers, body).await?;
        self.http.accepted(&answer)
    }
}

fn sign(secret: &Secret, timestamp: &str, body: &str) -> Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).context(Kind::Internal, || "signing the notice".into())?;
    mac.update(format!("{timestamp}.{body}").as_bytes());
    Ok(format!("sha256={}", hex::encode(mac.finalize().into_bytes())))
}

fn headers(text: &str) -> Result<Vec<(String, Secret)>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (name, value) =
                line.split_once(':').ok_or_else(|| service::wrong("headers", "each line is a name, a colon and a value"))?;
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
            if OWN_HEADERS.contains(&name.as_str()) || name.starts_with("x-dbsnap-") {
                return Err(service::wrong("headers", &format!("{name} is set by DBSnap itself")));
            }
            let valid = !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&c));
            if !valid || !value.chars().all(|c| (' '..='~').contains(&c)) {
                return Err(service::wrong("headers", "names and values hold only the characters of HTTP headers"));
            }
            Ok((name, Secret::new(value)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_are_the_requests_own_or_not_valid_are_refused() {
        for bad in ["Host: a", "content-length: 3", "X-DBSnap-Signature: sha256=1", "no colon", ": empty", "na me: x", "a: b\u{7}"] {
            assert_eq!(headers(bad).unwrap_err().fields[0].0, "headers", "{bad}");
        }
        let read = headers("\nAuthorization:  Bearer a:b \nX-Team: data").unwrap();
        assert_eq!(read[0], ("authorization".to_owned(), Secret::new("Bearer a:b")));
        assert_eq!(read.len(), 2);
    }
}
