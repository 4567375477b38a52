-- Comparisons. Their changes are in a report file of the data directory; a finished one outlives the backups it compared.
-- Exactly one of the two columns of each side is set.
CREATE TABLE diffs (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    database_id TEXT REFERENCES databases (id) ON DELETE SET NULL,
    database_name TEXT NOT NULL,
    engine TEXT NOT NULL,
    before_backup_id TEXT,
    before_database_id TEXT,
    before_label TEXT NOT NULL,
    after_backup_id TEXT,
    after_database_id TEXT,
    after_label TEXT NOT NULL,
    options TEXT NOT NULL,
    status TEXT NOT NULL,
    job_id TEXT,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    error TEXT,
    report_size BIGINT NOT NULL,
    summary TEXT
);
CREATE INDEX diffs_by_database ON diffs (database_id, created_at);
CREATE INDEX diffs_by_time ON diffs (organization_id, created_at);
CREATE INDEX diffs_by_status ON diffs (status);

ALTER TABLE jobs ADD COLUMN diff_id TEXT;

-- What became of chosen rows of a comparison.
ALTER TABLE restores ADD COLUMN applied TEXT;

-- Links to one download each: they work once, and not for long. Only the SHA-256 of their token is kept.
CREATE TABLE export_links (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    token_hash TEXT NOT NULL UNIQUE,
    what TEXT NOT NULL,
    file_name TEXT NOT NULL,
    made_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX export_links_by_end ON export_links (expires_at);
