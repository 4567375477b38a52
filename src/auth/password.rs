//! Passwords: Argon2id with OWASP's first choice of parameters (Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane).

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{self, PasswordHasher, PasswordVerifier},
};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{
    domain::secret::Secret,
    error::{Context, Error, Kind, Result},
};

/// Characters. Length is what counts against guessing; there is no rule on kinds of characters (NIST SP 800-63B).
pub const SHORTEST: usize = 12;

/// Bytes. Longer input would only be a way to keep the processor busy.
pub const LONGEST: usize = 1024;

/// Each computation holds 19 MiB: with more at once a burst of logins would take the memory that backups need.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// Stands in for the hash of a user who does not exist, so that the answer takes the same time. No password fits it.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn argon2() -> Result<Argon2<'static>> {
    let params = Params::new(19_456, 2, 1, None).context(Kind::Internal, || "setting up Argon2".into())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Errors unless the password may be chosen.
pub fn check(password: &str) -> Result<()> {
    if password.chars().count() < SHORTEST {
        return Err(Error::validation(format!("the password has fewer than {SHORTEST} characters")).hint("a few unrelated words are good"));
    }
    if password.len() > LONGEST {
        return Err(Error::validation(format!("the password has more than {LONGEST} bytes")));
    }
    Ok(())
}

/// The PHC text to store, with a random salt. Takes tens of milliseconds, off the async threads.
pub async fn hash(password: &str) -> Result<String> {
    let password = Secret::new(password);
    compute(move || {
        let hash = argon2()?.hash_password(password.expose().as_bytes()).context(Kind::Internal, || "hashing a password".into())?;
        Ok(hash.to_string())
    })
    .await
}

/// True when the password fits the stored hash; `None` (no such user) takes as long and is false.
pub async fn verify(password: &str, stored: Option<String>) -> Result<bool> {
    if password.len() > LONGEST {
        return Ok(false);
    }
    let password = Secret::new(password);
    compute(move || {
        let exists = stored.is_some();
        let stored = stored.unwrap_or_else(|| NOBODY.to_owned());
        match argon2()?.verify_password(password.expose().as_bytes(), stored.as_str()) {
            Ok(()) => Ok(exists),
            Err(password_hash::Error::PasswordInvalid) => Ok(false),
            Err(cause) => Err(Error::internal("the stored password cannot be read").source(cause)),
        }
    })
    .await
}

async fn compute<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let _permit = AT_ONCE.acquire().await.context(Kind::Internal, || "waiting for a turn".into())?;
    spawn_blocking(work).await.context(Kind::Internal, || "computing a password hash".into())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let stored = hash("correct horse battery").await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_ne!(stored, hash("correct horse battery").await.unwrap(), "each has its salt");
        assert!(verify("correct horse battery", Some(stored.clone())).await.unwrap());
        assert!(!verify("correct horse batterz", Some(stored)).await.unwrap());
        assert!(!verify("anything at all", None).await.unwrap());
        assert!(verify("x", Some("not a hash".into())).await.is_err());
    }

    #[test]
    fn short_and_endless_passwords_are_refused() {
        assert!(check("elevenchars").is_err());
        assert!(check("zwölf Zeichen").is_ok());
        assert!(check(&"x".repeat(LONGEST + 1)).is_err());
    }
}
