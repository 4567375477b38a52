//! Server processes that end with the test process, in whatever way that ends.

use std::{
    fs,
    io::Read,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

const START: Duration = Duration::from_secs(60);
/// The account of servers when the tests run as root, which most of them refuse to run as.
const NOBODY: u32 = 65_534;

/// A server process. Dropping this ends it and removes its folder.
pub struct Leash {
    folder: PathBuf,
    /// Ends the server when its other end, this, is closed.
    held: Option<ChildStdin>,
    supervisor: Child,
}

impl Leash {
    /// Runs `server` with its output in `folder`/log; kill -9 ends it. `folder` is removed when the server has ended.
    pub fn start(folder: &Path, server: &Command) -> Self {
        Self::start_ended_by("KILL", folder, server)
    }

    /// The same, for a server of many processes: the signal makes it end them all at once.
    pub fn start_ended_by(signal: &str, folder: &Path, server: &Command) -> Self {
        let script = r#"signal=$1 folder=$2; shift 2; "$@" >>"$folder/log" 2>&1 </dev/null & echo $! >"$folder/pid.new"; mv "$folder/pid.new" "$folder/pid"
            cat >/dev/null; kill "-$signal" $!; wait $!; rm -rf "$folder""#;
        let mut supervisor = Command::new("/bin/sh");
        supervisor.args(["-c", script, "supervisor", signal]).arg(folder).arg(server.get_program()).args(server.get_args());
        for (name, value) in server.get_envs() {
            supervisor.env(name, value.unwrap_or_default());
        }
        // What the supervisor says is of no interest: the server was killed.
        let mut supervisor = supervisor.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let held = supervisor.stdin.take();
        Self { folder: folder.to_owned(), held, supervisor }
    }

    /// Waits until the server is ready; panics with what it wrote when that does not come.
    pub fn wait_until(&self, what: &str, mut ready: impl FnMut() -> bool) {
        let deadline = Instant::now() + START;
        while !ready() {
            assert!(Instant::now() < deadline, "{what} did not start: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything the server wrote so far.
    pub fn log(&self) -> String {
        fs::read(self.folder.join("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// kill -9.
    pub fn kill(&self) {
        let mut pid = None;
        self.wait_until("the supervised process", || {
            pid = fs::read_to_string(self.folder.join("pid")).ok().and_then(|text| Pid::from_raw(text.trim().parse().ok()?));
            pid.is_some()
        });
        rustix::process::kill_process(pid.unwrap(), Signal::KILL).unwrap();
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        drop(self.held.take());
        // The supervisor ends by itself; there is nothing to do about an error here.
        let _ = self.supervisor.wait();
    }
}

/// Where scripts/test-peers puts what it prepares.
pub fn cache() -> PathBuf {
    std::env::var_os("DBSNAP_TEST_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/dbsnap-test")))
        .expect("HOME or DBSNAP_TEST_CACHE is set")
}

/// The folder with the programs of a peer.
pub fn programs(peer: &str) -> PathBuf {
    let folder = cache().join(peer).join("programs");
    assert!(folder.is_dir(), "{peer} is not there: run scripts/test-peers");
    folder
}

/// A new folder for a server, which owns it. It stays until the server's `Leash` is dropped.
pub fn folder(purpose: &str) -> PathBuf {
    let folder = tempfile::Builder::new().prefix(&format!("dbsnap-{purpose}-")).tempdir().unwrap().keep();
    give(&folder);
    folder
}

/// Makes a file or folder the servers' own, readable by nobody else.
pub fn give(path: &Path) {
    let mode = if path.is_dir() { 0o700 } else { 0o600 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    if rustix::process::geteuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

/// Writes a file that only the servers' account can read.
pub fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
    give(path);
}

/// A command under the servers' account. The capability lets it read the cache in root's home.
pub fn as_server(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")])
        .args(["--clear-groups", "--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--"])
        .arg(program);
    command
}

/// A data folder made once and kept with the peer's programs: `make` fills the folder it is given. Returns a copy at `to`.
pub fn copy_of_template(peer: &str, name: &str, to: &Path, make: impl FnOnce(&Path)) {
    let templates = cache().join(peer).join("template");
    fs::create_dir_all(&templates).unwrap();
    let template = templates.join(name);
    if !template.is_dir() {
        let lock = fs::File::create(templates.join(format!("{name}.lock"))).unwrap();
        lock.lock().unwrap();
        if !template.is_dir() {
            let place = tempfile::tempdir().unwrap();
            give(place.path());
            let made = place.path().join("data");
            make(&made);
            let part = templates.join(format!("{name}.part"));
            run(Command::new("rm").arg("-rf").arg(&part));
            run(Command::new("cp").args(["-a", "--sparse=always"]).arg(&made).arg(&part));
            fs::rename(part, &template).unwrap();
        }
    }
    run(Command::new("cp").args(["-a", "--reflink=auto", "--sparse=always"]).arg(&template).arg(to));
}

/// Runs a command that must succeed and returns what it prints.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Whether something listens on the port.
pub fn listens(port: u16) -> bool {
    TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_ok()
}

/// Whether something listens on the port and speaks first, as MySQL and SSH servers do.
pub fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.read(&mut [0; 64]).is_ok_and(|read| read > 0)
}

/// Percent-encodes every byte, for the parts of a URL.
pub fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
