//! Throw-away proxies: SOCKS5 (microsocks) and HTTP CONNECT (tinyproxy), made ready by scripts/test-peers.

use super::leash::{self, Leash, as_server};

pub const USER: &str = "proxy-user";
/// tinyproxy's configuration takes nothing but letters, digits, dots and dashes.
pub const PASSWORD: &str = "Passw0rd.x-y";
const PEER: &str = "network";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Socks5,
    Http,
}

/// A running proxy on 127.0.0.1. It ends when this is dropped, and when the test process ends in whatever way.
pub struct Proxy {
    pub port: u16,
    leash: Leash,
}

impl Proxy {
    /// Starts one; with `login`, it wants [`USER`] and [`PASSWORD`].
    pub fn start(kind: Kind, login: bool) -> Self {
        let port = leash::free_port();
        let folder = leash::folder("proxy");
        let command = match kind {
            Kind::Socks5 => {
                let mut command = as_server(&leash::programs(PEER).join("microsocks"));
                command.args(["-i", "127.0.0.1", "-p", &port.to_string()]);
                if login {
                    command.args(["-u", USER, "-P", PASSWORD]);
                }
                command
            }
            Kind::Http => {
                let login = if login { format!("BasicAuth {USER} {PASSWORD}\n") } else { String::new() };
                let config = folder.join("tinyproxy.conf");
                leash::write(&config, format!("Port {port}\nListen 127.0.0.1\nTimeout 600\nLogLevel Connect\n{login}"));
                let mut command = as_server(&leash::programs(PEER).join("tinyproxy"));
                command.args(["-d", "-c"]).arg(config);
                command
            }
        };
        let proxy = Self { port, leash: Leash::start(&folder, &command) };
        proxy.leash.wait_until(&format!("{kind:?}"), || leash::listens(port));
        proxy
    }

    /// Ends it and every connection through it at once.
    pub fn crash(&self) {
        self.leash.kill();
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        self.leash.log()
    }
}
