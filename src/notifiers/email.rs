//! Email over SMTP, as HTML and as text.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        self,
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};
use sha2::{Digest, Sha256};
use tokio::{net::lookup_host, time::timeout};

use super::{
    Notifier, NotifierInfo, NotifierKind, service,
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
    error::{Context, Error, Kind, Result},
};

/// For the whole conversation with the server.
const LIMIT: Duration = Duration::from_secs(25);

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
        let host = settings.text("host").unwrap_or_default().to_owned();
        let port = settings.integer("port").and_then(|port| u16::try_from(port).ok()).unwrap_or(587);
        Ok(Arc::new(Mailer {
            tls: tls(security, &host, service::authority(settings)?)?,
            from: mailbox("from", settings.text("from").unwrap_or_default())?,
            to: settings.list("to").into_iter().map(|to| mailbox("to", to)).collect::<Result<_>>()?,
            credentials,
            host,
            port,
        }))
    }
}

fn tls(security: &str, host: &str, authority: Option<&str>) -> Result<Tls> {
    let parameters = || {
        let mut builder = TlsParameters::builder(host.to_owned());
        if let Some(authority) = authority {
            let certificate = Certificate::from_pem(authority.as_bytes())
                .map_err(|_| service::wrong("caCertificate", "is not a certificate in PEM form"))?;
            builder = builder.add_root_certificate(certificate);
        }
        builder.build().context(Kind::Internal, || "TLS cannot be prepared".into())
    };
    Ok(match security {
        "none" => Tls::None,
        "tls" => Tls::Wrapper(parameters()?),
        _ => Tls::Required(parameters()?),
    })
}

struct Mailer {
    host: String,
    port: u16,
    tls: Tls,
    credentials: Option<(String, Secret)>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

#[async_trait]
impl Notifier for Mailer {
    async fn send(&self, notice: &Notice) -> Result<()> {
        let message = message(&self.from, &self.to, &bounded(notice))?;
        match timeout(LIMIT, self.deliver(&message)).await {
            Ok(sent) => sent,
            Err(_) => Err(Error::internal(format!("the mail server {} did not take the message within {LIMIT:?}", self.place()))
                .hint("check that it is an SMTP server, and whether the port goes with the security: 465 with tls, 587 with starttls")
                .retryable()),
        }
    }
}

impl Mailer {
    fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// At the first of the host's addresses that can be connected to.
    async fn deliver(&self, message: &Message) -> Result<()> {
        let mut failed = None;
        for address in self.addresses().await? {
            match self.transport(address).send(message.clone()).await {
                Ok(_) => return Ok(()),
                // It was understood and refused, or the message may have been taken: no other address is asked.
                Err(cause) if cause.is_response() || cause.is_permanent() || cause.is_transient() => return Err(self.refused(cause)),
                Err(cause) => failed = Some(cause),
            }
        }
        Err(match failed {
            Some(cause) => self.refused(cause),
            None => Error::internal(format!("the mail server {} has no address", self.host)).hint("check its name").retryable(),
        })
    }

    /// Looked up once and checked; the connection goes to exactly these.
    async fn addresses(&self) -> Result<Vec<SocketAddr>> {
        let what = "the mail server";
        forbidden::check_name(what, &self.host)?;
        let host = self.host.trim_matches(['[', ']']);
        let found: Vec<_> = lookup_host((host, self.port))
            .await
            .map_err(|cause| Error::internal(format!("{what} {host} cannot be found")).source(cause).hint("check its name").retryable())?
            .collect();
        forbidden::check_addresses(what, host, found.iter().map(SocketAddr::ip))?;
        Ok(found)
    }

    fn transport(&self, address: SocketAddr) -> AsyncSmtpTransport<Tokio1Executor> {
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.ip().to_string())
            .port(self.port)
            .timeout(Some(LIMIT / 2))
            .tls(self.tls.clone());
        if let Some((user, password)) = &self.credentials {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        builder.build()
    }

    fn refused(&self, cause: smtp::Error) -> Error {
        let place = self.place();
        let code = cause.status().map(|code| code.to_string()).unwrap_or_default();
        let mut said =
            format!(": {}", line(&std::error::Error::source(&cause).map(ToString::to_string).unwrap_or_else(|| cause.to_string())));
        if let Some((_, password)) = &self.credentials {
            said = said.replace(password.expose(), "[redacted]");
        }
        let said = cut(&said, 400);
        let error = |text: String| Error::new(Kind::Internal, text);
        if cause.is_tls() {
            return error(format!("the mail server {place} cannot be reached over TLS{said}"))
                .hint("check its certificate and the security setting: 465 goes with tls, 587 with starttls")
                .retryable();
        }
        match (code.as_str(), cause.is_permanent(), cause.is_transient()) {
            ("530" | "534" | "535" | "538", ..) => error(format!("the mail server {place} refused the sign-in{said}"))
                .hint("check user and password; some services ask for an app password"),
            (_, true, _) => error(format!("the mail server {place} refused the message{said}")).hint("check the addresses in From and To"),
            (_, _, true) => {
                error(format!("the mail server {place} cannot take the message now{said}")).hint("it is tried again").retryable()
            }
            _ if cause.is_client() => error(format!("the mail server {place} does not offer what is asked of it{said}"))
                .hint("check the security setting, and whether the server has sign-in at all"),
            _ => error(format!("the mail server {place} cannot be reached{said}")).hint("check host, port and security").retryable(),
        }
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
