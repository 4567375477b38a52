//! Throw-away OpenSSH servers that forward connections, made ready by scripts/test-peers.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::leash::{self, Leash};

/// The account, which exists in the server's own view of /etc/passwd alone.
pub const USER: &str = "tunnel";
pub const PASSWORD: &str = r#"Pass w0rd!'"\#%x"#;
/// Of the keys that have one.
pub const PASSPHRASE: &str = "käse & \"brot\"";
const PEER: &str = "network";

/// Sets up what only sshd may see (an account, its host-wide folders), then becomes sshd. All its processes end with it.
const PRIVATE: &str = r#"mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/shadow" /etc/shadow \
    && mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && shift && exec "$@""#;

/// What a server of its own may be given.
#[derive(Default, Clone, Copy)]
pub struct Options {
    /// `AllowTcpForwarding no`.
    pub no_forwarding: bool,
    /// Keys only.
    pub no_passwords: bool,
}

/// A server, running or stopped. It ends when this is dropped, and when the test process ends in whatever way.
pub struct Server {
    pub port: u16,
    options: Options,
    /// PEM.
    host_key: String,
    running: Option<Leash>,
    log: String,
}

/// Private keys that log in to every server, in the format of OpenSSH.
pub struct Keys {
    pub ed25519: String,
    pub rsa: String,
    /// Ed25519, encrypted with [`PASSPHRASE`].
    pub with_passphrase: String,
    /// RSA in the older PEM format.
    pub rsa_pem: String,
    /// Ed25519, which no server knows.
    pub unknown: String,
    authorized: String,
}

/// The server that all tests of this process share.
pub fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(Options::default()))
}

/// The keys, made once per test process.
pub fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut authorized = String::new();
        let mut key = |name: &str, options: &[&str], known: bool| {
            let path = generate(&folder.path().join(name), options);
            if known {
                authorized += &fs::read_to_string(path.with_extension("pub")).unwrap();
            }
            fs::read_to_string(path).unwrap()
        };
        Keys {
            ed25519: key("ed25519", &["-t", "ed25519", "-N", ""], true),
            rsa: key("rsa", &["-t", "rsa", "-b", "2048", "-N", ""], true),
            with_passphrase: key("with_passphrase", &["-t", "ed25519", "-a", "4", "-N", PASSPHRASE], true),
            rsa_pem: key("rsa_pem", &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""], true),
            unknown: key("unknown", &["-t", "ed25519", "-N", ""], false),
            authorized,
        }
    })
}

impl Server {
    /// Starts a server of its own on a free port, with an Ed25519 host key of its own.
    pub fn start(options: Options) -> Self {
        assert!(rustix::process::geteuid().is_root(), "sshd needs root to log anybody in: run the tests as root");
        let mut server = Self { port: leash::free_port(), options, host_key: host_key(), running: None, log: String::new() };
        server.resume();
        server
    }

    /// Starts it again on the same port.
    pub fn resume(&mut self) {
        let folder = leash::folder("ssh");
        // sshd reads some of these as the account itself.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.join("authorized_keys"), &keys().authorized).unwrap();
        let nobody = "sshd:x:65532:65532::/run/sshd:/usr/sbin/nologin\n";
        fs::write(folder.join("passwd"), format!("root:x:0:0::/root:/bin/sh\n{nobody}{USER}:x:65533:65533::/:/bin/false\n")).unwrap();
        let hash = leash::run(Command::new("perl").args(["-e", "print crypt($ARGV[0], '$6$dbsnap$')", PASSWORD]));
        fs::write(folder.join("shadow"), format!("root:*:19000::::::\n{USER}:{hash}:19000::::::\n")).unwrap();
        fs::set_permissions(folder.join("shadow"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(folder.join("host_key"), &self.host_key).unwrap();
        fs::set_permissions(folder.join("host_key"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(folder.join("sshd_config"), self.config(&folder)).unwrap();

        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child", "--", "/bin/sh", "-c", PRIVATE, "sshd"])
            .arg(&folder)
            .arg(leash::programs(PEER).join("sshd"))
            .args(["-D", "-e", "-f"])
            .arg(folder.join("sshd_config"));
        let running = Leash::start(&folder, &command);
        running.wait_until("sshd", || leash::greets(self.port));
        self.running = Some(running);
    }

    /// Ends it and every connection through it at once.
    pub fn stop(&mut self) {
        let running = self.running.take().expect("the server runs");
        self.log += &running.log();
    }

    /// Gives it another host key, which holds for connections made from now on.
    pub fn change_host_key(&mut self) {
        self.host_key = host_key();
        self.stop();
        self.resume();
    }

    /// SHA256:..., as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        let key = russh::keys::decode_secret_key(&self.host_key, None).unwrap();
        key.public_key().fingerprint(russh::keys::HashAlg::Sha256).to_string()
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        format!("{}{}", self.log, self.running.as_ref().map(Leash::log).unwrap_or_default())
    }

    fn config(&self, folder: &Path) -> String {
        let yes_unless = |no: bool| if no { "no" } else { "yes" };
        format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\nUseDNS no\n\
             LogLevel VERBOSE\nMaxStartups 100\nMaxSessions 100\nPasswordAuthentication {}\nAllowTcpForwarding {}\n",
            self.port,
            folder.join("host_key").display(),
            folder.join("authorized_keys").display(),
            yes_unless(self.options.no_passwords),
            yes_unless(self.options.no_forwarding),
        )
    }
}

fn host_key() -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::read_to_string(generate(&folder.path().join("key"), &["-t", "ed25519", "-N", ""])).unwrap()
}

fn generate(path: &Path, options: &[&str]) -> PathBuf {
    leash::run(Command::new(leash::programs(PEER).join("ssh-keygen")).args(["-q", "-C", "test"]).args(options).arg("-f").arg(path));
    path.to_owned()
}
