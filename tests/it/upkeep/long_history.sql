-- A long history: {databases} databases with {backups} backups in all, the newest one at {now} (milliseconds), one every 36
-- seconds; their jobs and logs, the runs of a schedule for each database, notices, restores, comparisons, and the audit trail.
-- The tests and benches/lists.py fill a catalogue with it.
BEGIN;

WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {databases} - 1)
INSERT INTO databases (id, project_id, name, engine, settings, store_id, backup_options, created_at, updated_at)
SELECT printf('00000000-0000-7000-8000-%012x', i), (SELECT MIN(id) FROM projects), printf('db-%03d', i), 'sqlite',
    printf('{"path": "/nowhere/db-%d.db"}', i), (SELECT MIN(id) FROM stores), '{}', 1, 1 FROM n;

INSERT INTO schedules (id, organization_id, database_id, name, enabled, cron, time_zone, details, next_run_at, created_at, updated_at)
SELECT id, (SELECT MIN(id) FROM organizations), id, name || ' hourly', TRUE, '0 * * * *', 'Europe/Berlin', '{}', {now} + 86400000, 1, 1
FROM databases;

WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {backups} - 1)
INSERT INTO jobs (id, organization_id, kind, status, database_id, backup_id, payload, attempt, max_attempts, run_after, cancel_requested,
    error, created_at, started_at, finished_at, schedule_id)
SELECT printf('00000001-0000-7000-8000-%012x', i), (SELECT MIN(id) FROM organizations), 'backup',
    CASE WHEN i % 50 = 7 THEN 'failed' ELSE 'completed' END, printf('00000000-0000-7000-8000-%012x', i % {databases}),
    printf('00000002-0000-7000-8000-%012x', i), '{}', 1, 3, {now} - ({backups} - i) * 36000, FALSE,
    CASE WHEN i % 50 = 7 THEN 'connecting to the server: connection refused' END, {now} - ({backups} - i) * 36000,
    {now} - ({backups} - i) * 36000 + 20, {now} - ({backups} - i) * 36000 + 9000, printf('00000000-0000-7000-8000-%012x', i % {databases})
FROM n;

INSERT INTO backups (id, organization_id, database_id, database_name, engine, type, status, store_id, job_id, pinned, verify_state,
    created_at, started_at, finished_at, moment, server_version, manifest_key, error, warnings, options, tables, schedule_id)
SELECT backup_id, organization_id, database_id, (SELECT d.name FROM databases d WHERE d.id = jobs.database_id), 'sqlite', 'hourly', status,
    (SELECT MIN(id) FROM stores), id, FALSE, 'unverified', created_at, started_at, finished_at, started_at, '3.53',
    CASE WHEN status = 'completed' THEN 'db/' || backup_id || '.manifest.json' END, error, '[]', '{}',
    CASE WHEN status = 'completed' THEN '[{"schema":null,"name":"customers","rows":100000},{"schema":null,"name":"orders","rows":1200000},'
        || '{"schema":null,"name":"lines","rows":4000000},{"schema":null,"name":"products","rows":5000}]' ELSE '[]' END, schedule_id
FROM jobs;

INSERT INTO artifacts (id, backup_id, kind, format, store_id, key, plain_size, stored_size, plain_sha256, stored_sha256, compression, key_id, created_at)
SELECT '00000003' || substr(id, 9), id, 'dump', 'sqlite-file', store_id, 'db/' || id || '.dump.zst.enc', 900000000, 150000000,
    hex(randomblob(32)), hex(randomblob(32)), 'zstd:1', 'k1', created_at FROM backups WHERE status = 'completed';
INSERT INTO artifacts (id, backup_id, kind, format, store_id, key, plain_size, stored_size, plain_sha256, stored_sha256, compression, key_id, created_at)
SELECT '00000004' || substr(id, 9), id, 'snapshot', 'snapshot', store_id, 'db/' || id || '.snap', 900000000, 150000000,
    hex(randomblob(32)), hex(randomblob(32)), 'zstd:1', 'k1', created_at FROM backups WHERE status = 'completed';

INSERT INTO execution_logs (job_id, at, level, message)
SELECT j.id, j.started_at + l.later, l.level, l.message FROM jobs j
JOIN (SELECT 1 AS later, 'info' AS level, 'backup begins' AS message UNION ALL SELECT 40, 'debug', 'SQLite 3.53, 4 tables'
    UNION ALL SELECT 8000, 'info', 'backup complete: 5305000 rows in 4 tables, 300000000 bytes stored') l
ORDER BY j.created_at, l.later;

INSERT INTO schedule_runs (id, schedule_id, slot, first_slot, status, slots, not_before, job_id, backup_id, created_at, finished_at, told)
SELECT '00000005' || substr(id, 9), schedule_id, created_at, created_at, status, 1, created_at, id, backup_id, created_at, finished_at, TRUE FROM jobs;

INSERT INTO audit_events (id, organization_id, user_id, actor, action, subject, details, at)
SELECT '00000006' || substr(id, 9), organization_id, NULL, 'system', 'backup.delete', backup_id, '{"database": "shop"}', created_at
FROM jobs WHERE rowid % 5 = 0;

INSERT INTO restores (id, organization_id, backup_id, source_label, database_id, target_label, engine, plan, status, created_at, warnings, tables, error)
SELECT '00000008' || substr(id, 9), organization_id, backup_id, 'db', database_id, 'restored', 'sqlite', '{"mode": "drop"}', 'failed',
    created_at, '[]', '[]', 'cancelled by hand' FROM jobs WHERE rowid % 100 = 0;

INSERT INTO diffs (id, organization_id, database_id, database_name, engine, before_backup_id, before_label, after_database_id, after_label,
    options, status, created_at, error, report_size)
SELECT '00000009' || substr(id, 9), organization_id, database_id, 'db', 'sqlite', backup_id, 'before', database_id, 'now', '{}', 'failed',
    created_at, 'cancelled by hand', 0 FROM jobs WHERE rowid % 100 = 0;

COMMIT;
