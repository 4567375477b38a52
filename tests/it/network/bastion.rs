//! An SSH server that does what a test says: any host keys, one user key, questions instead of a password.

use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use russh::{
    Channel, MethodKind, MethodSet,
    keys::{PrivateKey, PublicKey},
    server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Response, Session, VerifiedPublicKey, run_stream},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

pub const USER: &str = "walker";

/// What the server asks for and shows.
#[derive(Clone, Default)]
pub struct Options {
    pub host_keys: Vec<PrivateKey>,
    pub user_key: Option<PublicKey>,
    /// Taken as the answer to a hidden question, never as a password.
    pub answer: Option<&'static str>,
}

/// A running server; its sessions are counted and can be ended.
pub struct Bastion {
    pub port: u16,
    pub logins: Arc<AtomicUsize>,
    sessions: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Bastion {
    pub async fn start(options: Options) -> Self {
        let methods = MethodSet::from([MethodKind::PublicKey, MethodKind::KeyboardInteractive].as_slice());
        let config = Config { keys: options.host_keys.clone(), methods, auth_rejection_time: Default::default(), ..Config::default() };
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let bastion = Self { port, logins: Arc::default(), sessions: Arc::default() };
        let (logins, sessions) = (bastion.logins.clone(), bastion.sessions.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let guard = Guard { options: options.clone(), logins: logins.clone() };
                let config = config.clone();
                let session = tokio::spawn(async move {
                    if let Ok(session) = run_stream(config, stream, guard).await {
                        let _ = session.await;
                    }
                });
                sessions.lock().unwrap().push(session.abort_handle());
            }
        });
        bastion
    }
}

struct Guard {
    options: Options,
    logins: Arc<AtomicUsize>,
}

impl Handler for Guard {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        let known = self.options.user_key.as_ref().is_some_and(|known| known.key_data() == key.public_key.key_data());
        Ok(if user == USER && known { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_keyboard_interactive(&mut self, _: &str, _: &str, response: Option<Response<'_>>) -> Result<Auth, russh::Error> {
        let Some(expected) = self.options.answer else { return Ok(Auth::reject()) };
        let Some(mut response) = response else {
            let prompts = Cow::Owned(vec![(Cow::Borrowed("Password: "), false)]);
            return Ok(Auth::Partial { name: "".into(), instructions: "".into(), prompts });
        };
        Ok(if response.next().is_some_and(|given| *given == *expected.as_bytes()) { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), russh::Error> {
        self.logins.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let target = TcpStream::connect((host, u16::try_from(port).unwrap())).await;
        let Ok(mut target) = target else {
            reply.reject(russh::ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        };
        reply.accept().await;
        tokio::spawn(async move { copy_bidirectional(&mut channel.into_stream(), &mut target).await });
        Ok(())
    }
}
