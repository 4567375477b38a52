//! The real product on a free port over a private data directory, without the command line around it.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use dbsnap::{app, auth, config::Config, db, jobs, services::Ctx, web};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, redirect::Policy};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// What everyone signs in with here.
pub const PASSWORD: &str = "a long password of the tests";

/// A running site. Everything of it is gone when it is dropped.
pub struct Site {
    pub ctx: Arc<Ctx>,
    pub base: String,
    pub client: Client,
    pub folder: TempDir,
    /// `None`: queued jobs stay queued.
    _jobs: Option<jobs::Jobs>,
    _opened: app::Opened,
}

/// An answer of the API.
pub struct Answer {
    pub status: StatusCode,
    pub json: Value,
}

impl Site {
    /// Without sign-in: whoever asks is the administrator.
    pub async fn open() -> Self {
        Self::start(&[("AUTH_MODE", "none")]).await
    }

    /// With sign-in, set up by nobody yet.
    pub async fn locked() -> Self {
        Self::start(&[("AUTH_MODE", "password")]).await
    }

    /// Without sign-in and without workers: what is queued stays queued.
    pub async fn idle() -> Self {
        Self::idle_with(&[]).await
    }

    /// [`Self::idle`] with further settings.
    pub async fn idle_with(vars: &[(&str, &str)]) -> Self {
        Self::build(&[&[("AUTH_MODE", "none")], vars].concat(), false).await
    }

    /// Lets the workers of an idle site begin.
    pub async fn begin(&mut self) {
        self._jobs = Some(jobs::start(Arc::clone(&self.ctx)).await.unwrap());
    }

    /// The catalogue itself, beside the product.
    pub fn catalogue(&self) -> Connection {
        let db = Connection::open(self.ctx.db.path()).unwrap();
        db.busy_timeout(Duration::from_secs(20)).unwrap();
        db
    }

    pub async fn start(vars: &[(&str, &str)]) -> Self {
        Self::build(vars, true).await
    }

    async fn build(vars: &[(&str, &str)], workers: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut all = vec![
            ("ENCRYPTION_KEY".to_owned(), "a passphrase of the web tests, long enough".to_owned()),
            ("DATABASE_PATH".to_owned(), folder.path().join("data/dbsnap.db").display().to_string()),
            ("BACKUP_STORAGE_PATH".to_owned(), folder.path().join("data/backups").display().to_string()),
        ];
        all.extend(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let config = Config::from_vars(all, folder.path()).unwrap();
        let opened = app::open(config).await.unwrap();
        let ctx = Arc::clone(&opened.ctx);
        let jobs = if workers { Some(jobs::start(Arc::clone(&ctx)).await.unwrap()) } else { None };
        let router = web::router(Arc::clone(&ctx)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stop = ctx.shutdown.clone();
        tokio::spawn(async move {
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(listener, service).with_graceful_shutdown(async move { stop.cancelled().await }).await.unwrap();
        });
        let client = Client::builder().redirect(Policy::none()).cookie_store(true).build().unwrap();
        Self { ctx, base, client, folder, _jobs: jobs, _opened: opened }
    }

    /// A setup token that works; the one that a start prints is only in its log.
    pub async fn setup_token(&self) -> String {
        let token = auth::token::generate().expose().to_owned();
        db::settings::set(&self.ctx.db, "setup_token_hash", &auth::token::hash(&token)).await.unwrap();
        token
    }

    /// Creates the administrator `ada` and leaves this site's client signed in.
    pub async fn set_up(&self) {
        let token = self.setup_token().await;
        let form = [("token", token.as_str()), ("name", "ada"), ("password", PASSWORD), ("again", PASSWORD)];
        let response = self.submit("/setup", &form).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER, "{:?}", response.text().await);
    }

    /// Adds a user of this role and returns the cookie of a new session.
    pub async fn sign_in_as(&self, role: &str) -> String {
        let answer = self.api(Method::POST, "/api/users", json!({"name": role, "password": PASSWORD, "role": role})).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json);
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        let form = [("name", role), ("password", PASSWORD)];
        let response = client.post(format!("{}/login", self.base)).form(&form).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        let cookie = response.headers()["set-cookie"].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    pub fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub async fn get(&self, path: &str) -> Response {
        self.ask(Method::GET, path).send().await.unwrap()
    }

    /// The page's text; panics unless it was answered with 200.
    pub async fn page(&self, path: &str) -> String {
        let response = self.get(path).await;
        let status = response.status();
        let text = response.text().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        text
    }

    pub async fn submit(&self, path: &str, form: &[(&str, &str)]) -> Response {
        self.ask(Method::POST, path).form(form).send().await.unwrap()
    }

    /// Asks the API; `Value::Null` sends no body.
    pub async fn api(&self, method: Method, path: &str, body: Value) -> Answer {
        let mut request = self.ask(method, path);
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path} did not answer JSON ({error}): {text}"));
        Answer { status, json }
    }

    /// Adds a SQLite database of `rows` rows under this name. Returns its id.
    pub async fn add_database(&self, name: &str, rows: u32) -> String {
        let path = self.folder.path().join(format!("source-{}.db", uuid::Uuid::new_v4().simple()));
        make_shop(&path, rows);
        let input = json!({"name": name, "engine": "sqlite", "settings": {"path": path}});
        let answer = self.api(Method::POST, "/api/databases", input).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json);
        answer.id()
    }

    /// Backs the database up and waits for the end. Returns the backup.
    pub async fn back_up(&self, database: &str) -> Value {
        let answer = self.api(Method::POST, "/api/backups", json!({"databaseId": database})).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json);
        self.wait(&format!("/api/backups/{}", answer.id())).await
    }

    /// Asks again until `data.status` is one of an end; panics after a minute.
    pub async fn wait(&self, path: &str) -> Value {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        let mut events = self.ctx.events.subscribe();
        loop {
            let data = self.api(Method::GET, path, Value::Null).await.json["data"].clone();
            if !matches!(data["status"].as_str(), Some("queued" | "running")) {
                return data;
            }
            // The next event, or the deadline, whichever is first.
            if tokio::time::timeout_at(deadline, events.recv()).await.is_err() {
                panic!("{path} did not end within a minute: {data}");
            }
        }
    }
}

impl Answer {
    pub fn id(&self) -> String {
        self.json["data"]["id"].as_str().unwrap_or_else(|| panic!("no id in {}", self.json)).to_owned()
    }

    pub fn code(&self) -> &str {
        self.json["error"]["code"].as_str().unwrap_or_default()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.ctx.shutdown.cancel();
    }
}

/// A small shop as a SQLite file.
pub fn make_shop(path: &Path, rows: u32) {
    let shop = Connection::open(path).unwrap();
    shop.execute_batch(
        "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
         CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers (id), cents INTEGER NOT NULL);",
    )
    .unwrap();
    let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) ";
    shop.execute(&format!("{fill} INSERT INTO customers SELECT i, 'customer ' || i FROM n"), [rows]).unwrap();
    shop.execute(&format!("{fill} INSERT INTO orders SELECT i, i, i * 100 FROM n"), [rows]).unwrap();
}
