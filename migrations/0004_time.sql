-- Time: schedules and their runs, retention, copies, notifications, alerts. As before, details that are only read whole are JSON text.

CREATE TABLE retention_policies (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    name TEXT NOT NULL,
    policy TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (organization_id, name)
);

CREATE TABLE schedules (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    database_id TEXT NOT NULL REFERENCES databases (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    -- Exactly one of the two starts it: a cron expression, or the success of another schedule.
    cron TEXT,
    after_schedule_id TEXT REFERENCES schedules (id) ON DELETE SET NULL,
    time_zone TEXT NOT NULL,
    retention_policy_id TEXT REFERENCES retention_policies (id) ON DELETE SET NULL,
    details TEXT NOT NULL,
    -- Sealed: whoever knows the address can report for us.
    heartbeat_url TEXT,
    -- The slot that is due next; NULL when disabled, chained or never due.
    next_run_at BIGINT,
    -- When it was made, switched on or off last, or given other times: an overdue backup is counted from here.
    expected_since BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (organization_id, name)
);
CREATE INDEX schedules_due ON schedules (next_run_at);
CREATE INDEX schedules_by_database ON schedules (database_id);
CREATE INDEX schedules_by_parent ON schedules (after_schedule_id);

-- What became of each slot of a schedule. The unique key is what makes a slot run at most once.
CREATE TABLE schedule_runs (
    id TEXT PRIMARY KEY,
    schedule_id TEXT NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
    slot BIGINT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT,
    -- How many slots this row stands for: one, or a row of missed ones from `first_slot` to `slot`.
    slots BIGINT NOT NULL,
    first_slot BIGINT NOT NULL,
    not_before BIGINT NOT NULL,
    job_id TEXT,
    backup_id TEXT,
    created_at BIGINT NOT NULL,
    finished_at BIGINT,
    -- False from the moment a slot is missed until people were told.
    told BOOLEAN NOT NULL,
    UNIQUE (schedule_id, slot)
);
CREATE INDEX schedule_runs_untold ON schedule_runs (told);
CREATE INDEX schedule_runs_by_status ON schedule_runs (status, not_before);
CREATE INDEX schedule_runs_open ON schedule_runs (schedule_id, status, slot);
CREATE INDEX schedule_runs_by_job ON schedule_runs (job_id);
CREATE INDEX schedule_runs_by_time ON schedule_runs (created_at);

-- Where else a backup is, beside the store of its own row. Keys are the same in every store.
CREATE TABLE backup_copies (
    backup_id TEXT NOT NULL REFERENCES backups (id) ON DELETE CASCADE,
    store_id TEXT NOT NULL REFERENCES stores (id),
    status TEXT NOT NULL,
    error TEXT,
    created_at BIGINT NOT NULL,
    finished_at BIGINT,
    PRIMARY KEY (backup_id, store_id)
);
CREATE INDEX backup_copies_by_store ON backup_copies (store_id, status);
CREATE INDEX backup_copies_by_status ON backup_copies (status, backup_id);

-- Manifests that do not say yet whether their backup is pinned: their store could not be reached.
CREATE TABLE manifest_writes (
    backup_id TEXT NOT NULL REFERENCES backups (id) ON DELETE CASCADE,
    store_id TEXT NOT NULL REFERENCES stores (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (backup_id, store_id)
);

ALTER TABLE backups ADD COLUMN schedule_id TEXT;
-- The installation that made it, when it is not this one: retention leaves such a backup alone.
ALTER TABLE backups ADD COLUMN instance_id TEXT;
CREATE INDEX backups_by_schedule ON backups (schedule_id, created_at);
CREATE INDEX backups_by_status ON backups (status, created_at);
CREATE INDEX backups_by_job ON backups (job_id);

-- The policy of backups that no schedule made.
ALTER TABLE databases ADD COLUMN manual_retention_policy_id TEXT REFERENCES retention_policies (id) ON DELETE SET NULL;

ALTER TABLE jobs ADD COLUMN schedule_id TEXT;
-- Larger goes first.
ALTER TABLE jobs ADD COLUMN priority BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';
-- Out of attempts, and nobody has looked after it yet.
ALTER TABLE jobs ADD COLUMN dead BOOLEAN NOT NULL DEFAULT FALSE;
-- What the job found or did, for people and programs.
ALTER TABLE jobs ADD COLUMN report TEXT;
-- The job that does it once more.
ALTER TABLE jobs ADD COLUMN retried_as TEXT;
-- False from the end of a job until everything that follows from it (chains, notifications, retention) was seen to.
ALTER TABLE jobs ADD COLUMN followed_up BOOLEAN NOT NULL DEFAULT TRUE;
CREATE INDEX jobs_by_status ON jobs (organization_id, status, created_at, id);
CREATE INDEX jobs_to_follow_up ON jobs (followed_up, finished_at);
CREATE INDEX jobs_dead ON jobs (organization_id, dead, created_at, id);
CREATE INDEX jobs_by_database ON jobs (organization_id, database_id, created_at, id);
-- In the order in which they start: the next one is the first that may.
DROP INDEX jobs_due;
CREATE INDEX jobs_next ON jobs (status, priority DESC, run_after, created_at, id);
CREATE INDEX jobs_open ON jobs (organization_id, status, kind, run_after);
CREATE INDEX jobs_by_backup ON jobs (backup_id, status);

CREATE TABLE notifiers (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    settings TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    -- What it is told: events, least severity, projects, databases.
    rules TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (organization_id, name)
);

-- What happened that somebody may want to be told.
CREATE TABLE notices (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    event TEXT NOT NULL,
    severity TEXT NOT NULL,
    database_id TEXT,
    -- The same happening is told once, however often it is raised.
    dedup_key TEXT NOT NULL UNIQUE,
    -- The failure and the recovery from it have the same.
    group_key TEXT NOT NULL,
    content TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX notices_by_time ON notices (organization_id, created_at);
CREATE INDEX notices_by_group ON notices (group_key, created_at);

CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    notice_id TEXT REFERENCES notices (id) ON DELETE CASCADE,
    notifier_id TEXT NOT NULL REFERENCES notifiers (id) ON DELETE CASCADE,
    status TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    run_after BIGINT NOT NULL,
    error TEXT,
    created_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE INDEX deliveries_due ON deliveries (status, run_after);
CREATE INDEX deliveries_by_notifier ON deliveries (notifier_id, created_at);
CREATE INDEX deliveries_by_notice ON deliveries (notice_id);

-- What is wrong now, so that it is told once when it begins, again from time to time, and when it ends.
CREATE TABLE alerts (
    key TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    event TEXT NOT NULL,
    database_id TEXT,
    since BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    last_told_at BIGINT NOT NULL,
    times BIGINT NOT NULL,
    detail TEXT NOT NULL
);

CREATE INDEX execution_logs_by_time ON execution_logs (at);
CREATE INDEX backups_by_organization_status ON backups (organization_id, status, created_at, id);
CREATE INDEX restores_by_status ON restores (status);

-- Long histories stay fast: the newest of each database, sums over stores, what grows old, and what points at a deleted row.
-- With the id, in which lists are ordered at last, pages far behind are found in the index alone.
DROP INDEX backups_by_time;
CREATE INDEX backups_by_time ON backups (organization_id, created_at, id);
CREATE INDEX backups_by_type ON backups (organization_id, type, created_at, id);
CREATE INDEX backups_by_name ON backups (organization_id, database_name, created_at, id);
DROP INDEX jobs_by_time;
CREATE INDEX jobs_by_time ON jobs (organization_id, created_at, id);
CREATE INDEX jobs_by_kind ON jobs (organization_id, kind, created_at, id);
CREATE INDEX backups_by_database_status ON backups (database_id, status, created_at);
CREATE INDEX artifacts_by_store ON artifacts (store_id, stored_size);
DROP INDEX artifacts_by_backup;
CREATE INDEX artifacts_by_backup ON artifacts (backup_id, stored_size);
-- Retention looks at every good backup, in this order: all that it needs is in the index.
CREATE INDEX backups_for_retention ON backups (organization_id, status, database_id, schedule_id, partial, store_id, id, type, verify_state,
    finished_at, pinned, instance_id);
CREATE INDEX deliveries_by_time ON deliveries (created_at);
CREATE INDEX restores_by_backup ON restores (backup_id);
CREATE INDEX restores_by_safety ON restores (safety_backup_id);

-- How many backups have ended, ever. Counted when they end, so that it does not fall when old backups are deleted.
CREATE TABLE backup_totals (
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    -- Empty for a target that is no configured database.
    database_id TEXT NOT NULL,
    database_name TEXT NOT NULL,
    status TEXT NOT NULL,
    backups BIGINT NOT NULL,
    PRIMARY KEY (organization_id, database_id, database_name, status)
);
