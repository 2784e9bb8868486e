CREATE TABLE backups (
    id TEXT PRIMARY KEY, project_id TEXT NOT NULL, user_id TEXT NOT NULL, volume_id TEXT NOT NULL, snapshot_id TEXT, parent_id TEXT,
    host TEXT NOT NULL, name TEXT, description TEXT, size BIGINT NOT NULL, status TEXT NOT NULL, object_count BIGINT NOT NULL,
    fail_reason TEXT, container TEXT, availability_zone TEXT NOT NULL, metadata TEXT NOT NULL, data_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL, updated_at BIGINT
);
CREATE INDEX backups_project ON backups (project_id, created_at, id);
CREATE INDEX backups_volume ON backups (volume_id);
CREATE INDEX backups_parent ON backups (parent_id);
