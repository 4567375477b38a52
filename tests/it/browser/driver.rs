//! Chromium and chromedriver for one test.

use std::{
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use fantoccini::{Client, ClientBuilder, Locator, elements::Element, wd::WebDriverCompatibleCommand};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

const INSTALL: &str = "the browser tests need Chromium: run scripts/test-tools, or apt-get install chromium chromium-driver";

const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
];

/// How long anything on a page may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The widths that the pages are looked at in, CSS pixels.
pub const WIDE: u32 = 1360;
pub const PHONE: u32 = 390;

pub struct Browser {
    pub page: Client,
    base: String,
    driver: Child,
    /// Kept open: chromedriver ends when nobody can read what it says.
    _said: BufReader<ChildStdout>,
    _profile: TempDir,
}

impl Browser {
    pub async fn open(base: &str) -> Self {
        let (driver, said, port) =
            (0..5).find_map(|_| start_driver()).unwrap_or_else(|| panic!("chromedriver found no port to listen on five times: {INSTALL}"));
        let profile = tempfile::tempdir().unwrap();
        let mut flags: Vec<String> = FLAGS.iter().map(|&flag| flag.to_owned()).collect();
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        let wanted = Map::from_iter([
            ("goog:chromeOptions".to_owned(), json!({ "args": flags })),
            ("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" })),
        ]);
        let page = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(wanted)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap_or_else(|error| panic!("chromedriver cannot start Chromium ({error}): {INSTALL}"));
        let browser = Self { page, base: base.to_owned(), driver, _said: said, _profile: profile };
        browser.look(WIDE, "light").await;
        browser
    }

    pub async fn go(&self, path: &str) {
        self.page.goto(&format!("{}{path}", self.base)).await.unwrap();
    }

    /// Sets the width of the window and the colours that the system asks for.
    pub async fn look(&self, width: u32, colours: &str) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": colours}]});
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    /// Waits for an element; panics with the page's text when it does not come.
    pub async fn wait(&self, css: &str) -> Element {
        match self.page.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await {
            Ok(element) => element,
            Err(error) => panic!("'{css}' did not appear ({error}) on {}:\n{}", self.address().await, self.text().await),
        }
    }

    /// Waits until the page's text holds `wanted`.
    pub async fn wait_text(&self, wanted: &str) {
        let found = self
            .page
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::XPath(&format!("//body[contains(normalize-space(.), \"{wanted}\")]")))
            .await;
        if let Err(error) = found {
            panic!("'{wanted}' did not appear ({error}) on {}:\n{}", self.address().await, self.text().await);
        }
    }

    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.wait(css).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    pub async fn click(&self, css: &str) {
        self.wait(css).await.click().await.unwrap_or_else(|error| panic!("clicking '{css}': {error}"));
    }

    pub async fn address(&self) -> String {
        self.page.current_url().await.unwrap().to_string()
    }

    pub async fn text(&self) -> String {
        self.run("return document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    pub async fn run(&self, script: &str) -> Value {
        self.page.execute(script, Vec::new()).await.unwrap()
    }

    /// True when the page is wider than the window.
    pub async fn overflows(&self) -> bool {
        self.run("return document.documentElement.scrollWidth > document.documentElement.clientWidth").await == Value::Bool(true)
    }

    /// Panels whose content sticks out to the right.
    pub async fn burst_panels(&self) -> Value {
        self.run("return [...document.querySelectorAll('.panel')].filter(p => p.scrollWidth > p.clientWidth + 1).map(p => p.innerText.slice(0, 80))")
            .await
    }

    /// Writes a picture of the whole page to target/screens.
    pub async fn shoot(&self, name: &str) {
        let height = self.run("return Math.min(Math.max(document.documentElement.scrollHeight, 700), 3000)").await;
        let width = self.run("return document.documentElement.clientWidth").await;
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        let picture = self.devtools("Page.captureScreenshot", json!({"captureBeyondViewport": true, "clip": clip})).await;
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/screens");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()).unwrap();
    }

    /// What the console has said that is an error, such as a refused script or style.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.page.issue_cmd(Vendor { path: "se/log", body: json!({"type": "browser"}) }).await.unwrap();
        let lines = log.as_array().cloned().unwrap_or_default();
        lines.iter().filter(|line| line["level"] == "SEVERE").map(|line| line["message"].to_string()).collect()
    }

    pub async fn close(self) {
        self.page.clone().close().await.unwrap();
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let command = Vendor { path: "goog/cdp/execute", body: json!({"cmd": command, "params": parameters}) };
        match self.page.issue_cmd(command).await {
            Ok(answer) => answer,
            Err(error) => panic!("the browser refused a command: {error}"),
        }
    }
}

/// Starts chromedriver on a free port. `None` when the port it chose was taken before it listened.
fn start_driver() -> Option<(Child, BufReader<ChildStdout>, u16)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("chromedriver does not start ({error}): {INSTALL}"));
    let mut said = BufReader::new(driver.stdout.take().expect("it is piped"));
    let told = said.by_ref().lines().map_while(Result::ok);
    let port = told.filter_map(|line| line.split("started successfully on port ").nth(1)?.trim_end_matches('.').trim().parse().ok()).next();
    if port.is_none() {
        // It said nothing more, so it has ended or is about to.
        let _ = driver.kill();
        let _ = driver.wait();
    }
    port.map(|port| (driver, said, port))
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends the browser it started; an error means that it has ended already.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// A command of chromedriver's own.
#[derive(Debug)]
struct Vendor {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Vendor {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (axum::http::Method, Option<String>) {
        (axum::http::Method::POST, Some(self.body.to_string()))
    }
}
