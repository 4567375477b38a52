//! The real binary, serving; it can be killed without warning.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// Longest wait for any state.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Served {
    child: Child,
    base: String,
    client: reqwest::Client,
}

/// `dbsnap serve` with its data in `place`/data.
pub fn command(place: &Path, port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dbsnap"));
    command
        .arg("serve")
        .current_dir(place)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("ENCRYPTION_KEY", "a test passphrase of more than 32 characters")
        .env("AUTH_MODE", "none")
        .env("HOSTNAME", "127.0.0.1")
        .env("PORT", port.to_string())
        .stdin(Stdio::null());
    command
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Served {
    /// Starts it and waits until it is ready.
    pub async fn start(place: &Path, env: &[(&str, &str)]) -> Self {
        let port = free_port();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(place.join("server.log")).unwrap();
        let child = command(place, port).envs(env.iter().copied()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let server = Self { child, base: format!("http://127.0.0.1:{port}"), client: reqwest::Client::new() };
        wait_until("the server is ready", async || {
            server.client.get(format!("{}/api/health/ready", server.base)).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        server
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, as `docker stop` sends it; returns how it ended.
    pub fn terminate(&mut self) -> std::process::ExitStatus {
        self.ask_to_stop();
        self.child.wait().unwrap()
    }

    /// SIGTERM, without waiting for the end.
    pub fn ask_to_stop(&self) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM).unwrap();
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Host and port, for connections that are not HTTP clients' own.
    pub fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub async fn get(&self, path: &str) -> Value {
        data(self.client.get(format!("{}{path}", self.base)).send().await.unwrap()).await
    }

    /// The status of an answer, whatever else is in it.
    pub async fn get_status(&self, path: &str) -> u16 {
        self.client.get(self.url(path)).send().await.unwrap().status().as_u16()
    }

    /// A file, whole.
    pub async fn bytes(&self, path: &str) -> Vec<u8> {
        let answer = self.client.get(self.url(path)).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        answer.bytes().await.unwrap().to_vec()
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        let (status, mut answer) = self.try_post(path, body).await;
        assert!((200..300).contains(&status), "{status}: {answer}");
        answer["data"].take()
    }

    /// Status and whole answer, whatever it is.
    pub async fn try_post(&self, path: &str, body: Value) -> (u16, Value) {
        let answer = self.client.post(self.url(path)).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Sends a PUT without a body.
    pub async fn put(&self, path: &str) -> Value {
        data(self.client.put(self.url(path)).send().await.unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> u16 {
        self.client.delete(self.url(path)).send().await.unwrap().status().as_u16()
    }

    /// Uploads a dump for a restore; status and whole answer.
    pub async fn upload(&self, name: &str, bytes: Vec<u8>) -> (u16, Value) {
        let form = reqwest::multipart::Form::new().part("file", reqwest::multipart::Part::bytes(bytes).file_name(name.to_owned()));
        let answer = self.client.post(self.url("/api/restores/upload")).multipart(form).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Waits until a backup or restore at `path` is over, and returns it.
    pub async fn over(&self, path: &str) -> Value {
        let open = |found: &Value| ["queued", "running"].contains(&found["status"].as_str().unwrap());
        wait_until(path, async || !open(&self.get(path).await)).await;
        self.get(path).await
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may be dead already: that is what these tests are about.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn data(answer: reqwest::Response) -> Value {
    let status = answer.status();
    let mut body: Value = answer.json().await.unwrap();
    assert!(status.is_success(), "{status}: {body}");
    body["data"].take()
}

/// Waits for a state; panics with its name when it does not come.
pub async fn wait_until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is().await {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
