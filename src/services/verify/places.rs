//! A backup in each of the stores that have it: in which it is whole, and what follows when it is not in one.

use std::sync::Arc;

use serde_json::json;

use super::{Findings, judged, verify};
use crate::{
    db,
    domain::{
        backup::{Backup, VerifyState},
        copy::CopyStatus,
        ids::{OrganizationId, StoreId},
        job::Job,
        run::Run,
    },
    error::{Error, Kind, Result},
    services::{Ctx, copies, manifests, manifests::Seal, stores},
    stores::{Store, witnessed::Witnessed},
};

/// A store that should have the backup, and what was found there.
pub(super) struct Place {
    pub store_id: StoreId,
    store_name: String,
    found: Found,
}

enum Found {
    /// With the number of plain bytes that were read and compared.
    Whole(u64),
    Damaged(Vec<String>),
    /// The store did not let it be read.
    Unknown(Error),
}

impl Place {
    pub fn is_whole(&self) -> bool {
        matches!(self.found, Found::Whole(_))
    }

    fn damage(&self) -> Option<String> {
        match &self.found {
            Found::Damaged(problems) => Some(problems.join("; ")),
            Found::Whole(_) | Found::Unknown(_) => None,
        }
    }
}

/// Reads the backup in its own store, which comes first, and in every one with a complete copy. Errors on a cancel.
pub(super) async fn look(ctx: &Ctx, organization: OrganizationId, backup: &Backup, run: &Run) -> Result<Vec<Place>> {
    let own = db::stores::get(&ctx.db, organization, backup.store_id).await?.name;
    let mut wanted = vec![(backup.store_id, own)];
    let copies = db::backup_copies::of_backup(&ctx.db, backup.id).await?;
    wanted.extend(copies.into_iter().filter(|copy| copy.status == CopyStatus::Complete).map(|copy| (copy.store_id, copy.store_name)));
    let several = wanted.len() > 1;
    let mut places = Vec::new();
    for (store_id, store_name) in wanted {
        if several {
            run.info(format!("reading the backup in '{store_name}'"));
        }
        let found = match read(ctx, organization, backup, store_id, &store_name, run).await {
            Ok(findings) if findings.problems.is_empty() => Found::Whole(findings.bytes),
            Ok(findings) => Found::Damaged(findings.problems),
            Err(error) if error.is_cancelled() => return Err(error),
            Err(error) => Found::Unknown(error),
        };
        places.push(Place { store_id, store_name, found });
    }
    Ok(places)
}

/// Errors when nothing can be said of the backup there.
async fn read(ctx: &Ctx, organization: OrganizationId, backup: &Backup, id: StoreId, name: &str, run: &Run) -> Result<Findings> {
    let key = backup.manifest_key.as_deref().ok_or_else(|| Error::conflict("the backup has no manifest"))?;
    let store = stores::open(ctx, organization, id).await?;
    let witness = Arc::new(Witnessed::new(store.clone()));
    let findings = match witness.stat(key).await.map_err(Error::retryable)? {
        None => Findings { missing: true, ..Findings::new(Seal::Unchecked, vec![format!("the manifest {key} is missing")]) },
        Some(_) => match manifests::fetch(witness.as_ref(), key, Some(&ctx.keys)).await {
            Ok((manifest, _)) if manifest.backup_id != backup.id => {
                Findings::new(Seal::Unchecked, vec![format!("{key} is the manifest of another backup")])
            }
            // The catalogue's own rows are compared with the store: a replaced manifest cannot vouch for replaced artifacts.
            Ok((manifest, seal)) => verify(&manifest, seal, &backup.artifacts, store.clone(), Some(&ctx.keys), run).await?,
            Err(error) => Findings::new(Seal::Unchecked, judged(Err(error), &witness)?.into_iter().collect()),
        },
    };
    if findings.missing {
        present(ctx, store.as_ref(), id, name, backup).await?;
    }
    Ok(findings)
}

/// What is missing is damage only in a store that is there. Errors when neither anything of this backup nor anything of others is:
/// then it is more likely that the volume is not mounted.
async fn present(ctx: &Ctx, store: &dyn Store, id: StoreId, name: &str, backup: &Backup) -> Result<()> {
    let own = backup.manifest_key.iter().chain(backup.artifacts.iter().map(|artifact| &artifact.key)).cloned();
    let keys: Vec<_> = own.chain(db::backups::some_keys(&ctx.db, id, Some(backup.id)).await?).collect();
    for key in keys {
        if store.stat(&key).await.map_err(Error::retryable)?.is_some() {
            return Ok(());
        }
    }
    Err(Error::new(Kind::Storage, format!("nothing of the backup is in the store '{name}', and nothing of others that were looked for"))
        .hint("is the volume mounted? If the store has lost it, delete the backup by hand")
        .retryable())
}

/// Records what was found, and sees to what is damaged: a whole copy takes the place of the backup's own files, and damaged ones
/// are made again. `deep` is what is wrong with the content itself, wherever it is.
pub(super) async fn conclude(
    ctx: &Arc<Ctx>,
    job: &Job,
    backup: &Backup,
    mut places: Vec<Place>,
    deep: Vec<String>,
    run: &Run,
) -> Result<()> {
    let now = ctx.now();
    for place in &mut places {
        if !deep.is_empty() && place.is_whole() {
            place.found = Found::Damaged(deep.clone());
        }
        if let Found::Unknown(error) = &place.found {
            run.warn(format!("the backup could not be read in '{}': {error}", place.store_name));
        }
    }
    let damaged: Vec<_> = places.iter().filter_map(|place| Some((place, place.damage()?))).collect();
    for (place, damage) in damaged.iter().filter(|(place, _)| place.store_id != backup.store_id) {
        db::backup_copies::finish(&ctx.db, backup.id, place.store_id, CopyStatus::Damaged, Some(damage), now).await?;
    }
    let own_damage = damaged.iter().find(|(place, _)| place.store_id == backup.store_id).map(|(_, damage)| damage);
    let own_damaged = own_damage.is_some();
    let told = damaged.iter().map(|(place, damage)| format!("in '{}': {damage}", place.store_name)).collect::<Vec<_>>().join("; ");
    let Some(whole) = places.iter().find(|place| place.is_whole()) else {
        return nowhere(ctx, backup, places, own_damaged, &told).await;
    };
    if let Some(damage) = own_damage {
        let took = db::backup_copies::take_over(&ctx.db, backup.id, backup.store_id, whole.store_id, damage, now).await?;
        if !took {
            return Err(Error::conflict("the backup's copies changed while it was verified").retryable());
        }
        backup.artifacts.iter().for_each(|artifact| ctx.snapshots.forget(artifact.id));
    }
    db::backups::set_verified(&ctx.db, backup.id, VerifyState::Verified, now).await?;
    if told.is_empty() {
        if let Found::Whole(bytes) = whole.found {
            run.info(format!("verified: {bytes} plain bytes read and compared"));
        }
        return Ok(());
    }
    copies::queue(ctx, None).await?;
    let good = &whole.store_name;
    let stores: Vec<_> = damaged.iter().map(|(place, _)| &place.store_name).collect();
    let words = [format!("Damaged {told}."), format!("Whole in '{good}'.")];
    db::jobs::set_report(&ctx.db, job.id, &json!({ "words": words, "damagedIn": stores, "wholeIn": good })).await?;
    Err(Error::new(Kind::Backup, format!("the backup is damaged {told}; in '{good}' it is whole, and from there it is made again"))
        .hint(format!("nothing is lost: restores read '{good}'; check the disk of the other store before it damages more")))
}

/// Nothing whole was found.
async fn nowhere(ctx: &Ctx, backup: &Backup, places: Vec<Place>, own_damaged: bool, told: &str) -> Result<()> {
    let unknown = places.into_iter().find_map(|place| match place.found {
        Found::Unknown(error) => Some((place.store_name, error)),
        _ => None,
    });
    if own_damaged {
        db::backups::set_verified(&ctx.db, backup.id, VerifyState::Corrupt, ctx.now()).await?;
    }
    match unknown {
        Some((_, error)) if told.is_empty() => Err(error),
        // It may still be whole there: retention keeps it, and the next attempt asks again.
        Some((store, error)) => Err(Error::new(
            Kind::Backup,
            format!("the backup is damaged {told}; whether it is whole in '{store}' could not be seen: {error}"),
        )
        .hint(format!("bring '{store}' back, then verify the backup again"))
        .retryable()),
        None => {
            Err(Error::new(Kind::Backup, format!("the backup is damaged {told}"))
                .hint("restore from another backup; check the store's disk"))
        }
    }
}
