//! Logging in to an SSH server (RFC 4252): by key, password, or keyboard-interactive (RFC 4256) with the password.

use std::sync::Arc;

use russh::{
    Error as SshError, MethodKind, MethodSet,
    client::{AuthResult, Handle, Handler, KeyboardInteractiveAuthResponse as Asked},
    keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg},
};

use super::{certificates::shown, route::SshServer};
use crate::error::{Error, Kind, Result};

/// Rounds of questions that are answered.
const ROUNDS: usize = 4;

/// Tries the key first, then the password. Errors with the methods that the server offers.
pub async fn log_in<H: Handler>(handle: &mut Handle<H>, server: &SshServer, key: Option<Arc<PrivateKey>>) -> Result<()> {
    let trying = async {
        let mut offered = None;
        if let Some(key) = key {
            match by_key(handle, server, key).await? {
                AuthResult::Success => return Ok(None),
                AuthResult::Failure { remaining_methods, .. } => offered = Some(remaining_methods),
            }
        }
        let Some(password) = &server.password else { return Ok(offered) };
        let offers = |offered: &Option<MethodSet>, method| offered.as_ref().is_none_or(|offered| offered.contains(&method));
        if offers(&offered, MethodKind::Password) {
            match handle.authenticate_password(&server.user, password.expose()).await? {
                AuthResult::Success => return Ok(None),
                AuthResult::Failure { remaining_methods, .. } => offered = Some(remaining_methods),
            }
        }
        if offers(&offered, MethodKind::KeyboardInteractive) {
            match answer(handle, server, password.expose()).await? {
                None => return Ok(None),
                Some(remaining) => offered = Some(remaining),
            }
        }
        Ok(offered)
    };
    match trying.await {
        Ok(None) => Ok(()),
        Ok(Some(offered)) if offered.is_empty() && handle.is_closed() => Err(broken(server, &SshError::Disconnect)),
        Ok(Some(offered)) => Err(refused(server, &offered)),
        Err(cause) => Err(broken(server, &cause)),
    }
}

async fn by_key<H: Handler>(handle: &mut Handle<H>, server: &SshServer, key: Arc<PrivateKey>) -> Result<AuthResult, SshError> {
    let hash = match key.algorithm().is_rsa() {
        // A server that names no algorithm is asked for the better one; SHA-1 is never used.
        true => handle.best_supported_rsa_hash().await?.flatten().or(Some(HashAlg::Sha512)),
        false => None,
    };
    let result = handle.authenticate_publickey(&server.user, PrivateKeyWithHashAlg::new(key, hash)).await?;
    Ok(result)
}

/// Answers one hidden question with the password. `None` when the server is content.
async fn answer<H: Handler>(handle: &mut Handle<H>, server: &SshServer, password: &str) -> Result<Option<MethodSet>, SshError> {
    let mut asked = handle.authenticate_keyboard_interactive_start(&server.user, None).await?;
    let mut given = false;
    for _ in 0..ROUNDS {
        match asked {
            Asked::Success => return Ok(None),
            Asked::Failure { remaining_methods, .. } => return Ok(Some(remaining_methods)),
            Asked::InfoRequest { prompts, .. } => {
                // More questions than one, or one to be answered in sight, are not about the password alone.
                let ours = matches!(prompts.as_slice(), [prompt] if !prompt.echo) && !given;
                given |= ours;
                if !ours && !prompts.is_empty() {
                    break;
                }
                let answers = if ours { vec![password.to_owned()] } else { Vec::new() };
                asked = handle.authenticate_keyboard_interactive_respond(answers).await?;
            }
        }
    }
    Ok(Some(MethodSet::from([MethodKind::KeyboardInteractive].as_slice())))
}

fn refused(server: &SshServer, offered: &MethodSet) -> Error {
    let offered: Vec<&str> = offered.iter().map(<&str>::from).collect();
    let tried = match (&server.key, &server.password) {
        (Some(_), Some(_)) => "neither the key nor the password",
        (Some(_), None) => "not the key",
        _ => "not the password",
    };
    let offer = if offered.is_empty() { "no way to log in".to_owned() } else { offered.join(", ") };
    let error =
        Error::new(Kind::Database, format!("the SSH server {server} accepts {tried} of '{}'; it offers: {offer}", shown(&server.user)));
    match (&server.key, &server.password) {
        (None, _) if offered == ["publickey"] => error.hint("this server takes keys only: set sshKey"),
        (Some(_), _) => error.hint("check sshUser, and that the key's public half stands in the user's authorized_keys on the server"),
        _ => error.hint("check sshUser and sshPassword; a second factor cannot be answered: use a key"),
    }
}

fn broken(server: &SshServer, cause: &SshError) -> Error {
    Error::new(Kind::Database, format!("the SSH server {server} ended the session in the login: {}", shown(&cause.to_string())))
        .hint("the server's log may say why, such as too many attempts")
        .retryable()
}
