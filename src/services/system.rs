//! The product itself: its state, its settings, its upkeep.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Ctx, audit, databases, stores};
use crate::{
    config::AuthMode,
    db,
    domain::{
        backup::{BackupOptions, BackupStatus},
        compression::Compression,
        database::Settings,
        fields::{Field, FieldKind, SettingsExt, validate},
        filter::{BackupFilter, DatabaseFilter},
        ids::{OrganizationId, StoreId},
        page::PageRequest,
        permissions::{Actor, Permission},
        time::Moment,
    },
    engines,
    error::{Context, Error, Kind, Result},
};

/// A page that shows how the local store is waits so long for its answer.
const STORE_PATIENCE: Duration = Duration::from_secs(4);

/// Settings that can be changed while it runs. The environment decides the rest.
pub const SETTINGS: &[Field] = &[
    Field::new("compression", "Compression of new databases", FieldKind::Text)
        .section("Backup defaults")
        .default("zstd:1")
        .help("zstd:1 to zstd:19, gzip:0 to gzip:9, or none. zstd:1 is the fastest and on dumps about as small as higher levels."),
    Field::new("encrypt", "Encrypt backups of new databases", FieldKind::Bool)
        .section("Backup defaults")
        .default("true")
        .help("With AES-256-GCM, under the key from ENCRYPTION_KEY."),
    Field::new("historyRetentionDays", "Keep the history for, days", FieldKind::Integer { min: 0, max: 36_500 })
        .section("History")
        .default("90")
        .help("Jobs that are over, restores, comparisons with their reports, runs of schedules, notices and their deliveries, and backups that did not succeed. 0 keeps them for ever. Good backups are not history: retention policies decide about them."),
    Field::new("logRetentionDays", "Keep the logs of jobs for, days", FieldKind::Integer { min: 0, max: 36_500 })
        .section("History")
        .default("30")
        .help("Logs go with their job at the latest. A job that is out of attempts keeps its log until it goes itself. 0 keeps them as long as the jobs."),
    Field::new("auditRetentionDays", "Keep the audit trail for, days", FieldKind::Integer { min: 0, max: 36_500 })
        .section("History")
        .default("730")
        .help("0 keeps it for ever."),
    Field::new("maintenanceHour", "Hour of the daily maintenance", FieldKind::Integer { min: 0, max: 23 })
        .section("Maintenance")
        .default("3")
        .help("0 to 23, in the time zone of TZ. Old history is removed then, and the catalogue is checked; when much of its file is unused and nothing else runs, it is compacted too."),
    Field::new("verifyBackups", "Backups to verify each day", FieldKind::Integer { min: 0, max: 100 })
        .section("Maintenance")
        .default("1")
        .help("Those whose verification is the longest ago. Each is read whole from its store. 0 verifies none by itself."),
    Field::new("deadManHours", "Tell when there is no good backup for, hours", FieldKind::Integer { min: 0, max: 8760 })
        .section("Notifications")
        .default("0")
        .help("Of every database. 0 goes by the schedules: told when two slots have passed and one more hour, of scheduled databases only."),
    Field::new("sizeChangePercent", "Tell when the size changes by, percent", FieldKind::Integer { min: 0, max: 10_000 })
        .section("Notifications")
        .default("50")
        .help("Against the middle of the last ten good backups, up or down. 0 never tells."),
    Field::new("rowsChangePercent", "Tell when the row count changes by, percent", FieldKind::Integer { min: 0, max: 10_000 })
        .section("Notifications")
        .default("50")
        .help("Against the middle of the last ten good backups, up or down. 0 never tells."),
    Field::new("diskFreePercent", "Tell when a store has less free than, percent", FieldKind::Integer { min: 0, max: 90 })
        .section("Notifications")
        .default("10")
        .help("Of stores that know their size. 0 never tells."),
    Field::new("repeatAlertHours", "Tell again of what is still wrong after, hours", FieldKind::Integer { min: 1, max: 720 })
        .section("Notifications")
        .default("24"),
    Field::new("groupMinutes", "Hold back the same failure for, minutes", FieldKind::Integer { min: 0, max: 10_080 })
        .section("Notifications")
        .default("120")
        .help("The next message says how many were held back. The end of a problem is always told. 0 tells each."),
];

/// The state of the product.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SystemStatus {
    pub version: &'static str,
    pub instance_id: String,
    pub started_at: Moment,
    pub uptime_seconds: u64,
    pub auth_mode: &'static str,
    /// Id of the encryption key in use.
    pub key_id: String,
    pub database_path: String,
    pub backup_storage_path: String,
    pub max_concurrent_backups: usize,
    pub time_zone: String,
    /// Bytes free where local backups are kept.
    pub free_bytes: Option<u64>,
    pub total_bytes: Option<u64>,
    /// Peak memory of this process, bytes, where the system tells.
    pub peak_memory_bytes: Option<u64>,
    /// Engines of this build.
    pub engines: Vec<&'static str>,
}

/// Figures for the dashboard.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    pub databases: u64,
    /// Databases with a good backup as new as their schedules ask, or of the last 24 hours where none is on.
    pub protected: u64,
    /// Databases that never had a good backup.
    pub never_backed_up: u64,
    pub backups_last_day: u64,
    pub failed_last_day: u64,
    pub backups: u64,
    /// Bytes in all stores.
    pub stored_bytes: u64,
    pub running: u64,
}

pub async fn status(ctx: &Ctx, actor: &Actor) -> Result<SystemStatus> {
    actor.require(Permission::View)?;
    // A store that is away must not hide the rest of the status.
    let health = stores::ask(ctx, OrganizationId::DEFAULT, StoreId::LOCAL, STORE_PATIENCE).await;
    if let Err(error) = &health {
        tracing::warn!(%error, "the local store is not healthy");
    }
    let health = health.ok();
    Ok(SystemStatus {
        version: env!("CARGO_PKG_VERSION"),
        instance_id: ctx.instance_id.clone(),
        started_at: ctx.started_at,
        uptime_seconds: ctx.now().since(ctx.started_at) / 1000,
        auth_mode: match ctx.config.auth_mode {
            AuthMode::Password => "password",
            AuthMode::None => "none",
        },
        key_id: ctx.keys.current().id().to_owned(),
        database_path: ctx.config.database_path.display().to_string(),
        backup_storage_path: ctx.config.backup_storage_path.display().to_string(),
        max_concurrent_backups: ctx.config.max_concurrent_backups,
        time_zone: ctx.config.tz.to_string(),
        free_bytes: health.as_ref().and_then(|health| health.free),
        total_bytes: health.as_ref().and_then(|health| health.total),
        peak_memory_bytes: peak_memory(),
        engines: engines::registry().iter().map(|engine| engine.info().label).collect(),
    })
}

pub async fn stats(ctx: &Ctx, actor: &Actor) -> Result<Stats> {
    actor.require(Permission::View)?;
    let organization = actor.organization_id;
    let day_ago = Moment(ctx.now().0 - 24 * 60 * 60 * 1000);
    let one = PageRequest { page: 1, limit: 1 };
    let count = async |filter: BackupFilter| Ok::<_, Error>(db::backups::list(&ctx.db, organization, &filter, one).await?.total);
    let (protected, never_backed_up) = databases::protected(ctx, organization).await?;
    Ok(Stats {
        databases: db::databases::list(&ctx.db, organization, &DatabaseFilter::default(), one).await?.total,
        protected,
        never_backed_up,
        backups_last_day: count(BackupFilter { start: Some(day_ago), ..BackupFilter::default() }).await?,
        failed_last_day: count(BackupFilter { start: Some(day_ago), status: Some(BackupStatus::Failed), ..BackupFilter::default() })
            .await?,
        backups: count(BackupFilter { status: Some(BackupStatus::Completed), ..BackupFilter::default() }).await?,
        stored_bytes: db::backups::stored_bytes(&ctx.db, organization).await?,
        running: count(BackupFilter { status: Some(BackupStatus::Running), ..BackupFilter::default() }).await?,
    })
}

/// The settings with defaults filled in.
pub async fn settings_get(ctx: &Ctx, actor: &Actor) -> Result<Settings> {
    actor.require(Permission::View)?;
    settings(ctx).await
}

/// Changes settings, all of those named or none; the others stay. Errors with every one that is not valid. With the
/// `version` of what was shown of the settings named, errors with `CONFLICT` when somebody has changed one of them since.
pub async fn settings_put(ctx: &Ctx, actor: &Actor, changes: Settings, version: Option<&str>) -> Result<Settings> {
    actor.require(Permission::Settings)?;
    let seen = db::settings::all(&ctx.db).await?;
    let now = of_stored(&seen)?;
    if version.is_some_and(|version| version != settings_version(&now, changes.keys().map(String::as_str))) {
        return Err(Error::conflict("somebody else has changed these settings meanwhile").hint("look at them again, then save yours"));
    }
    let mut all = now.clone();
    all.extend(changes.clone());
    let all = check_settings(&all)?;
    db::settings::change(&ctx.db, differing(&now, &all), version.map(|_| seen)).await?;
    audit::record(ctx, actor, "settings.change", "settings", Value::Object(changes)).await?;
    settings(ctx).await
}

/// The rows of those that are to be written. One that says what it is anyway is not: a default of a later version may be better.
fn differing(now: &Settings, all: &Settings) -> BTreeMap<String, String> {
    let changed = all.iter().filter(|(name, value)| now.get(*name) != Some(value));
    changed.map(|(name, value)| (setting_key(name), value.to_string())).collect()
}

/// Takes over the settings of another installation, all or none.
pub(super) async fn settings_import(ctx: &Ctx, imported: &Settings) -> Result<()> {
    let now = settings(ctx).await?;
    db::settings::change(&ctx.db, differing(&now, imported), None).await
}

/// Stands for what these settings are now: another one when one of them is changed.
pub fn settings_version<'a>(settings: &Settings, names: impl Iterator<Item = &'a str>) -> String {
    let named: BTreeMap<_, _> = names.map(|name| (name, settings.get(name))).collect();
    hex::encode(&Sha256::digest(format!("{named:?}"))[..8])
}

/// The id of this installation, made at the first start.
pub async fn instance_id(database: &db::Db) -> Result<String> {
    if let Some(id) = db::settings::get(database, "instance_id").await? {
        return Ok(id);
    }
    let id = uuid::Uuid::new_v4().to_string();
    db::settings::set(database, "instance_id", &id).await?;
    Ok(id)
}

pub(super) async fn settings(ctx: &Ctx) -> Result<Settings> {
    of_stored(&db::settings::all(&ctx.db).await?)
}

/// What is stored, with defaults filled in.
fn of_stored(stored: &BTreeMap<String, String>) -> Result<Settings> {
    let mut settings = Settings::new();
    for field in SETTINGS {
        if let Some(text) = stored.get(&setting_key(field.name)) {
            let value = serde_json::from_str(text).context(Kind::Database, || format!("reading the setting {}", field.name))?;
            settings.insert(field.name.to_owned(), value);
        }
    }
    check_settings(&settings)
}

pub(super) fn check_settings(settings: &Settings) -> Result<Settings> {
    let valid = validate(SETTINGS, settings)?;
    if let Some(Err(error)) = valid.text("compression").map(str::parse::<Compression>) {
        return Err(Error::validation("some settings are not valid").fields(vec![("compression".into(), error.to_string())]));
    }
    Ok(valid)
}

fn setting_key(name: &str) -> String {
    format!("setting.{name}")
}

/// How a new database is backed up unless it says otherwise.
pub(super) async fn default_backup_options(ctx: &Ctx) -> Result<BackupOptions> {
    let settings = settings(ctx).await?;
    let compression = settings.text("compression").unwrap_or_default().parse()?;
    Ok(BackupOptions { compression, encrypt: settings.flag("encrypt"), ..BackupOptions::default() })
}

fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
