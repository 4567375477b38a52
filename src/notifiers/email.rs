//! Email over SMTP, as HTML and as text.

use std::sync::Arc;

use async_trait::async_trait;
use lettre::{
    Message,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
};
use sha2::{Digest, Sha256};

use super::{
    Notifier, NotifierInfo, NotifierKind, service,
    smtp::{Security, Server},
    text::{bounded, clean, color, cut, escape_html, line, plain, sign},
};
use crate::{
    domain::{
        database::Settings,
        fields::{Field, FieldKind, SettingsExt},
        forbidden,
        notice::Notice,
        secret::Secret,
    },
    error::{Context, Kind, Result},
};

static INFO: NotifierInfo = NotifierInfo {
    id: "email",
    label: "Email",
    icon: "mail",
    settings: &[
        Field::new("host", "SMTP server", FieldKind::Text).required().binds_secrets(),
        Field::new("security", "Security", FieldKind::Choice { of: &["none", "starttls", "tls"] })
            .default("starttls")
            .binds_secrets()
            .safer_later()
            .help("tls: encrypted from the first byte, usually port 465. starttls: encrypted before anything is said, usually 587. none: only for a relay on this network; no password is sent."),
        Field::new("port", "Port", FieldKind::Integer { min: 1, max: 65535 }).default("587").binds_secrets(),
        Field::new("from", "From", FieldKind::Text).required().help("Such as DBSnap <dbsnap@example.org>."),
        Field::new("to", "To", FieldKind::List).required().help("One address per line."),
        Field::new("username", "User", FieldKind::Text).help("Where the server asks for one."),
        Field::new("password", "Password", FieldKind::Secret),
        service::AUTHORITY,
    ],
};

pub(super) struct Email;

impl NotifierKind for Email {
    fn info(&self) -> &'static NotifierInfo {
        &INFO
    }

    fn address(&self, settings: &Settings) -> String {
        settings.list("to").join(", ")
    }

    fn open(&self, settings: &Settings) -> Result<Arc<dyn Notifier>> {
        let mailbox = |field: &str, text: &str| {
            text.parse::<Mailbox>().map_err(|_| service::wrong(field, &format!("'{}' is not an address", cut(&line(text), 80))))
        };
        let security = settings.text("security").unwrap_or_default();
        let credentials = match (settings.text("username"), settings.text("password")) {
            (None, None) => None,
            (Some(_), Some(_)) if security == "none" => {
                return Err(service::wrong("security", "must be starttls or tls: without encryption no password is sent"));
            }
            (Some(user), Some(password)) => Some((user.to_owned(), Secret::new(password))),
            (Some(_), None) => return Err(service::wrong("password", "is required with a user")),
            (None, Some(_)) => return Err(service::wrong("username", "is required with a password")),
        };
        let host = settings.text("host").unwrap_or_default();
        forbidden::check_host("the mail server", host).map_err(|error| service::wrong("host", &error.context))?;
        let port = settings.integer("port").and_then(|port| u16::try_from(port).ok()).unwrap_or(587);
        Ok(Arc::new(Mailer {
            server: Server::new(host, port, Security::new(security, host, service::authority(settings)?)?, credentials),
            from: mailbox("from", settings.text("from").unwrap_or_default())?,
            to: settings.list("to").into_iter().map(|to| mailbox("to", to)).collect::<Result<_>>()?,
        }))
    }
}

struct Mailer {
    server: Server,
    from: Mailbox,
    to: Vec<Mailbox>,
}

#[async_trait]
impl Notifier for Mailer {
    async fn send(&self, notice: &Notice) -> Result<()> {
        self.server.deliver(&message(&self.from, &self.to, &bounded(notice))?).await
    }
}

fn message(from: &Mailbox, to: &[Mailbox], notice: &Notice) -> Result<Message> {
    let mut builder = Message::builder().from(from.clone()).subject(cut(&format!("{} {}", sign(notice), line(&notice.title)), 200));
    for to in to {
        builder = builder.to(to.clone());
    }
    // Mail programs show a failure and its recovery as one conversation.
    let thread = hex::encode(&Sha256::digest(&notice.group)[..12]);
    let domain = from.email.domain();
    builder
        .references(format!("<{thread}@{domain}>"))
        .message_id(Some(format!("<{}@{domain}>", notice.id)))
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".into()))
        .multipart(MultiPart::alternative_plain_html(format!("{}\n\n{}\n", line(&notice.title), plain(notice)), html(notice)))
        .context(Kind::Internal, || "writing the email".into())
}

fn html(notice: &Notice) -> String {
    let paragraphs = |text: &str| escape_html(&clean(text)).replace('\n', "<br>");
    let mut body = format!(
        "<h2 style=\"margin:0 0 12px;font-size:18px;border-left:4px solid #{:06x};padding-left:10px\">{}</h2><p>{}</p>",
        color(notice),
        paragraphs(&line(&notice.title)),
        paragraphs(&notice.what)
    );
    if !notice.next_step.is_empty() {
        body += &format!("<p><strong>What to do:</strong> {}</p>", paragraphs(&notice.next_step));
    }
    if !notice.facts.is_empty() {
        let row = |(name, value): &(String, String)| {
            format!(
                "<tr><td style=\"padding:2px 16px 2px 0;color:#667\">{}</td><td>{}</td></tr>",
                escape_html(&line(name)),
                escape_html(&line(value))
            )
        };
        body += &format!(
            "<table style=\"border-collapse:collapse;margin:12px 0\">{}</table>",
            notice.facts.iter().map(row).collect::<String>()
        );
    }
    if let Some(link) = &notice.link {
        body += &format!("<p><a href=\"{}\">Open in DBSnap</a></p>", escape_html(link));
    }
    format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"></head><body style=\"font:14px/1.5 system-ui,sans-serif;color:#222;max-width:640px\">{body}</body></html>"
    )
}
