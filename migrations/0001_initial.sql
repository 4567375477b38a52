-- Ids are UUID text, times are integer milliseconds UTC, JSON is text. The SQL is the subset that SQLite and PostgreSQL share.

CREATE TABLE organizations (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE projects (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    name TEXT NOT NULL,
    environment TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (organization_id, name)
);

CREATE TABLE stores (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    settings TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (organization_id, name)
);

CREATE TABLE databases (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    engine TEXT NOT NULL,
    settings TEXT NOT NULL,
    store_id TEXT NOT NULL REFERENCES stores (id),
    backup_options TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (project_id, name)
);

-- organization_id is kept here too: a backup outlives the database it was made of.
CREATE TABLE backups (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    database_id TEXT REFERENCES databases (id) ON DELETE SET NULL,
    database_name TEXT NOT NULL,
    engine TEXT NOT NULL,
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    store_id TEXT NOT NULL REFERENCES stores (id),
    job_id TEXT,
    pinned BOOLEAN NOT NULL,
    verify_state TEXT NOT NULL,
    verified_at BIGINT,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    moment BIGINT,
    server_version TEXT,
    tool_version TEXT,
    manifest_key TEXT,
    error TEXT,
    warnings TEXT NOT NULL,
    options TEXT NOT NULL,
    tables TEXT NOT NULL
);
CREATE INDEX backups_by_database ON backups (database_id, created_at);
CREATE INDEX backups_by_time ON backups (organization_id, created_at);

CREATE TABLE artifacts (
    id TEXT PRIMARY KEY,
    backup_id TEXT NOT NULL REFERENCES backups (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    format TEXT NOT NULL,
    store_id TEXT NOT NULL REFERENCES stores (id),
    key TEXT NOT NULL,
    plain_size BIGINT NOT NULL,
    stored_size BIGINT NOT NULL,
    plain_sha256 TEXT NOT NULL,
    stored_sha256 TEXT NOT NULL,
    compression TEXT NOT NULL,
    key_id TEXT,
    created_at BIGINT NOT NULL,
    UNIQUE (store_id, key)
);
CREATE INDEX artifacts_by_backup ON artifacts (backup_id);

CREATE TABLE restores (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    backup_id TEXT REFERENCES backups (id) ON DELETE SET NULL,
    upload_id TEXT,
    source_label TEXT NOT NULL,
    database_id TEXT REFERENCES databases (id) ON DELETE SET NULL,
    target_label TEXT NOT NULL,
    engine TEXT NOT NULL,
    plan TEXT NOT NULL,
    status TEXT NOT NULL,
    job_id TEXT,
    safety_backup_id TEXT REFERENCES backups (id) ON DELETE SET NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    error TEXT,
    warnings TEXT NOT NULL,
    tables TEXT NOT NULL
);
CREATE INDEX restores_by_time ON restores (organization_id, created_at);

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    database_id TEXT,
    backup_id TEXT,
    restore_id TEXT,
    exclusive_key TEXT,
    payload TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    run_after BIGINT NOT NULL,
    cancel_requested BOOLEAN NOT NULL,
    -- Who holds the lease; a worker that lost it may no longer write (fencing).
    lease_token TEXT,
    lease_until BIGINT,
    progress TEXT,
    error TEXT,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT
);
CREATE INDEX jobs_due ON jobs (status, run_after);
CREATE INDEX jobs_by_time ON jobs (organization_id, created_at);

CREATE TABLE execution_logs (
    seq INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    level TEXT NOT NULL,
    message TEXT NOT NULL
);
CREATE INDEX execution_logs_by_job ON execution_logs (job_id, seq);

CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    name TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL,
    disabled BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    last_login_at BIGINT
);

CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- SHA-256 of the cookie's token: the file alone does not let anyone in.
    token_hash TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    address TEXT,
    agent TEXT
);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    key_hash TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    expires_at BIGINT
);

CREATE TABLE audit_events (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    user_id TEXT,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    details TEXT NOT NULL,
    address TEXT,
    at BIGINT NOT NULL
);
CREATE INDEX audit_events_by_time ON audit_events (organization_id, at);

INSERT INTO organizations (id, name, created_at) VALUES ('00000000-0000-0000-0000-000000000001', 'Default', 0);
INSERT INTO projects (id, organization_id, name, environment, created_at)
VALUES ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000001', 'Default', 'prod', 0);
