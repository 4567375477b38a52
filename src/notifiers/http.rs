//! The one HTTP client for addresses that people enter: webhooks, hooks, heartbeats and the services of notifiers.
//!
//! A name is looked up once, its addresses are checked against `domain::forbidden`, and the connection goes to exactly
//! these: a name that changes its answer between the check and the connection (rebinding) gains nothing. Redirects are
//! not followed, proxies of the environment are not used, an answer is read up to a limit. Errors name the host only:
//! paths, queries and headers hold secrets.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::future::BoxFuture;
use reqwest::{
    Certificate, Client, Method, Response,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use tokio::{net::lookup_host, time::timeout};
use url::{Host, Position, Url};

use crate::{
    domain::{forbidden, secret::Secret},
    error::{Context, Error, Kind, Result},
};

/// So much of an answer is read, bytes; the rest is left.
pub const ANSWER_LIMIT: usize = 64 << 10;
/// So much of an answer is shown in an error, characters.
const SHOWN: usize = 300;

/// After the head of an answer its body has this long to come: what it says is for messages only.
const BODY_LIMIT: Duration = Duration::from_secs(5);

/// How a name is looked up.
pub(super) type Lookup = fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// Sends requests to addresses that people entered.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// What it is for people, such as `the webhook`.
    what: String,
    limit: Duration,
    authority: Option<String>,
    hidden: Vec<Secret>,
    lookup: Lookup,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Up to [`ANSWER_LIMIT`] bytes of it; what is not UTF-8 is replaced.
    pub body: String,
    /// False when the body broke off, or did not come to its end in time.
    pub whole: bool,
    /// The host that answered, for messages.
    pub place: String,
}

impl Outbound {
    /// `what` names it for people, such as `the webhook`. A request has 20 seconds unless [`Self::within`] says otherwise.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), limit: Duration::from_secs(20), authority: None, hidden: Vec::new(), lookup: system_lookup }
    }

    /// How long a request may take from the look-up of the name to the head of the answer.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Trusts this certificate authority (PEM) beside those of the system.
    pub fn trusting(mut self, authority: Option<&str>) -> Self {
        self.authority = authority.map(str::to_owned);
        self
    }

    /// Text that is taken out of whatever an answer says before it is shown.
    pub fn hiding(mut self, secrets: impl IntoIterator<Item = Secret>) -> Self {
        self.hidden.extend(secrets);
        self
    }

    /// [`Self::hiding`] what of an address is secret when the address itself is: its path as a whole and in parts, and its query.
    pub fn hiding_address(self, address: &Secret) -> Self {
        let Ok(url) = Url::parse(address.expose().trim()) else { return self };
        let beyond_host = url.as_str().get(url[..Position::BeforePath].len()..).unwrap_or_default().to_owned();
        let parts = url.path_segments().into_iter().flatten().map(str::to_owned);
        let values = url.query_pairs().map(|(_, value)| value.into_owned());
        let account = [url.username().to_owned(), url.password().unwrap_or_default().to_owned()];
        let mut hidden: Vec<String> = parts.chain(values).chain(account).filter(|part| is_telling(part)).collect();
        hidden.extend([address.expose().to_owned(), beyond_host, url.path().to_owned()].into_iter().filter(|part| part.len() > 1));
        self.hiding(hidden.into_iter().map(Secret::new))
    }

    /// Posts a body. Any HTTP answer is `Ok`, see [`Self::accepted`]; errors when there was none, when the address is
    /// not allowed or not valid. The content type is among the headers.
    pub async fn post(&self, url: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Result<Answer> {
        self.send(Method::POST, url, headers, body.into()).await
    }

    /// Gets an address. Any HTTP answer is `Ok`.
    pub async fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.send(Method::GET, url, headers, Vec::new()).await
    }

    /// Errors unless the answer is a success, with what the service said, and whether trying again may help.
    pub fn accepted(&self, answer: &Answer) -> Result<()> {
        let (what, place, status) = (&self.what, &answer.place, answer.status);
        let error = |text: String| Error::new(Kind::Internal, text);
        match status {
            200..300 => Ok(()),
            300..400 => Err(error(format!("{what} at {place} answered {status}, a redirect, which is not followed"))
                .hint("enter the address that it leads to")),
            _ => {
                let failed = error(format!("{what} at {place} answered {status}{}", self.shown(&answer.body)));
                Err(match status {
                    408 | 425 | 429 => failed.retryable().hint("the service asks to wait; a message is tried again by itself"),
                    500.. => failed.retryable().hint("the service has a problem of its own; a message is tried again by itself"),
                    401 | 403 => failed.hint("check the token or the password, and what it is allowed to do"),
                    404 | 410 => failed.hint("check the address: there is nothing there"),
                    _ => failed.hint("check the settings against what the service says"),
                })
            }
        }
    }

    /// The beginning of an answer for people: one line without secrets.
    fn shown(&self, body: &str) -> String {
        let mut text = body.to_owned();
        let mut hidden: Vec<_> = self.hidden.iter().map(Secret::expose).filter(|secret| secret.len() > 3).collect();
        // The longest first: what is a part of another secret would leave the rest of it.
        hidden.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
        for secret in hidden {
            text = text.replace(secret, "[redacted]");
        }
        let line = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        match line.chars().count() {
            0 => String::new(),
            1..=SHOWN => format!(": {line}"),
            _ => format!(": {}…", line.chars().take(SHOWN).collect::<String>()),
        }
    }

    async fn send(&self, method: Method, url: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Answer> {
        let url = self.parse(url)?;
        let place = place(&url);
        let headers = self.headers(headers)?;
        let asked = timeout(self.limit, async {
            let request = self.client(&url).await?.request(method, url);
            request.headers(headers).body(body).send().await.map_err(|cause| self.failed(&place, cause))
        });
        match asked.await {
            Ok(answer) => Ok(self.read(answer?, place).await),
            Err(_) => Err(Error::new(Kind::Internal, format!("{} at {place} did not answer within {:?}", self.what, self.limit))
                .hint("check that the service runs and can be reached from here")
                .retryable()),
        }
    }

    /// The beginning of an answer's body. The service has decided with the status: a body that breaks off, or comes byte by
    /// byte for ever, does not undo it.
    async fn read(&self, mut answer: Response, place: String) -> Answer {
        let mut bytes = Vec::new();
        let reading = async {
            while let Some(part) = answer.chunk().await? {
                bytes.extend_from_slice(&part[..part.len().min(ANSWER_LIMIT - bytes.len())]);
                if bytes.len() == ANSWER_LIMIT {
                    break;
                }
            }
            Ok::<_, reqwest::Error>(())
        };
        let whole = matches!(timeout(self.limit.min(BODY_LIMIT), reading).await, Ok(Ok(())));
        Answer { status: answer.status().as_u16(), body: String::from_utf8_lossy(&bytes).into_owned(), whole, place }
    }

    /// A client that connects to the addresses that were checked and to no others.
    async fn client(&self, url: &Url) -> Result<Client> {
        let mut builder =
            Client::builder().redirect(Policy::none()).no_proxy().referer(false).user_agent(concat!("dbsnap/", env!("CARGO_PKG_VERSION")));
        if let Some(host) = url.host_str() {
            builder = builder.resolve_to_addrs(host, &self.resolve(url).await?);
        }
        if let Some(authority) = &self.authority {
            let authorities = Certificate::from_pem_bundle(authority.as_bytes())
                .context(Kind::Validation, || format!("the certificate authority of {} cannot be read", self.what))?;
            builder = builder.tls_certs_merge(authorities);
        }
        builder.build().context(Kind::Internal, || format!("a connection to {} cannot be prepared", self.what))
    }

    /// Every address that the host of `url` leads to; errors when one of them is forbidden.
    async fn resolve(&self, url: &Url) -> Result<Vec<SocketAddr>> {
        let what = format!("the host of {}", self.what);
        let port = url.port_or_known_default().unwrap_or(443);
        let found: Vec<SocketAddr> = match url.host() {
            Some(Host::Ipv4(address)) => vec![(address, port).into()],
            Some(Host::Ipv6(address)) => vec![(address, port).into()],
            Some(Host::Domain(name)) => {
                forbidden::check_name(&what, name)?;
                (self.lookup)(name.to_owned(), port).await.map_err(|cause| {
                    Error::new(Kind::Internal, format!("{what} {name} cannot be found"))
                        .source(cause)
                        .hint("check its name and the name server")
                        .retryable()
                })?
            }
            None => Vec::new(),
        };
        let host = url.host_str().unwrap_or_default();
        forbidden::check_addresses(&what, host.trim_matches(['[', ']']), found.iter().map(SocketAddr::ip))?;
        match found.is_empty() {
            true => Err(Error::new(Kind::Internal, format!("{what} {host} has no address")).hint("check its name").retryable()),
            false => Ok(found),
        }
    }

    fn parse(&self, url: &str) -> Result<Url> {
        let wrong =
            |why: &str| Error::validation(format!("the address of {} {why}", self.what)).hint("it looks like https://example.org/path");
        let parsed = Url::parse(url.trim()).map_err(|cause| wrong(&format!("is not valid: {cause}")))?;
        match parsed.scheme() {
            "http" | "https" if parsed.has_host() => Ok(parsed),
            scheme => Err(wrong(&format!("begins with {scheme}:, not with http:// or https://"))),
        }
    }

    fn headers(&self, headers: &[(&str, &str)]) -> Result<HeaderMap> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let wrong = || Error::validation(format!("the header {name:?} of {} is not a valid HTTP header", self.what));
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            map.append(name, value);
        }
        Ok(map)
    }

    fn failed(&self, place: &str, cause: reqwest::Error) -> Error {
        let (doing, hint) = match (cause.is_timeout(), cause.is_connect()) {
            (true, _) => ("did not answer in time", "check that the service runs and can be reached from here"),
            (_, true) => ("cannot be reached", "check that the service runs, its port, and its certificate if it uses TLS"),
            _ => ("broke off the conversation", "check that this address speaks HTTP"),
        };
        Error::new(Kind::Internal, format!("{} at {place} {doing}", self.what)).source(cause.without_url()).hint(hint).retryable()
    }
}

/// Scheme, host and port: what of an address may be shown.
pub(super) fn place(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// True of a part of an address that may be a secret: `services` and `api` are none.
fn is_telling(part: &str) -> bool {
    part.len() > 8 || (part.len() > 3 && part.chars().any(|c| c.is_ascii_digit() || c.is_ascii_uppercase()))
}

pub(super) fn system_lookup(host: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
    Box::pin(async move { Ok(lookup_host((host.as_str(), port)).await?.collect()) })
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
