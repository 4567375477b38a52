//! Unlocks the catalogue: derives the master key from ENCRYPTION_KEY and proves that it is the right one.

use serde::{Deserialize, Serialize};

use crate::{
    db::{self, Db},
    domain::secret::Secret,
    error::{Context, Error, Kind, Result},
    pipeline::keys::{Kdf, KeyRing, MasterKey},
};

/// The setting that holds the key's derivation and a sealed canary.
const SETTING: &str = "master_key";
const PURPOSE: &str = "canary";
const CANARY: &str = "dbsnap";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    iterations: u32,
    /// Hex.
    salt: String,
    key_id: String,
    canary: String,
}

/// Derives the master key. At the very first start a salt and a sealed canary are stored; later the canary must open.
///
/// Errors when `passphrase` is not the one the catalogue was made with; nothing is written then.
pub async fn unlock(db: &Db, passphrase: Secret) -> Result<KeyRing> {
    let stored = match db::settings::get(db, SETTING).await? {
        Some(text) => Some(serde_json::from_str::<Stored>(&text).context(Kind::Database, || "reading the catalogue's key record".into())?),
        None => None,
    };
    match stored {
        Some(stored) => {
            let kdf = Kdf { iterations: stored.iterations, salt: salt(&stored.salt)? };
            let key = derive(passphrase.clone(), Some(kdf)).await?;
            let opens = key.id() == stored.key_id && key.open_text(PURPOSE, &stored.canary).is_ok_and(|text| text.expose() == CANARY);
            if !opens {
                return Err(Error::validation(format!(
                    "ENCRYPTION_KEY is not the one this catalogue was made with: it needs key {}, the given one makes key {}",
                    stored.key_id,
                    key.id()
                ))
                .hint("set the ENCRYPTION_KEY used before; nothing was changed"));
            }
            Ok(KeyRing::new(passphrase, key))
        }
        None => {
            let key = derive(passphrase.clone(), None).await?;
            let stored = Stored {
                iterations: key.kdf().iterations,
                salt: hex::encode(key.kdf().salt),
                key_id: key.id().to_owned(),
                canary: key.seal_text(PURPOSE, CANARY),
            };
            let text = serde_json::to_string(&stored).context(Kind::Internal, || "writing the key record".into())?;
            db::settings::set(db, SETTING, &text).await?;
            Ok(KeyRing::new(passphrase, key))
        }
    }
}

/// A key ring that belongs to no catalogue, for commands that work alone: the first of the `known` keys, each with its id,
/// that this passphrase makes; a new one where there is none. Snapshots under one key compare by their hashes.
pub async fn standalone(passphrase: Secret, known: Vec<(Kdf, String)>) -> Result<KeyRing> {
    for (kdf, id) in known {
        let key = derive(passphrase.clone(), Some(kdf)).await?;
        if key.id() == id {
            return Ok(KeyRing::new(passphrase, key));
        }
    }
    let key = derive(passphrase.clone(), None).await?;
    Ok(KeyRing::new(passphrase, key))
}

async fn derive(passphrase: Secret, kdf: Option<Kdf>) -> Result<MasterKey> {
    tokio::task::spawn_blocking(move || match kdf {
        Some(kdf) => MasterKey::derive(&passphrase, kdf),
        None => MasterKey::generate(&passphrase),
    })
    .await
    .context(Kind::Internal, || "deriving the master key".into())
}

fn salt(text: &str) -> Result<[u8; 16]> {
    let mut salt = [0; 16];
    hex::decode_to_slice(text, &mut salt).context(Kind::Database, || "reading the catalogue's key record".into())?;
    Ok(salt)
}
