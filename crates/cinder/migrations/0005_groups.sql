CREATE TABLE group_types (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT, is_public BOOLEAN NOT NULL, group_specs TEXT NOT NULL,
    created_at BIGINT NOT NULL, updated_at BIGINT
);
CREATE TABLE volume_groups (
    id TEXT PRIMARY KEY, project_id TEXT NOT NULL, user_id TEXT NOT NULL, name TEXT, description TEXT, type_id TEXT NOT NULL,
    volume_types TEXT NOT NULL, availability_zone TEXT NOT NULL, status TEXT NOT NULL, group_snapshot_id TEXT, source_group_id TEXT,
    created_at BIGINT NOT NULL, updated_at BIGINT
);
CREATE INDEX volume_groups_project ON volume_groups (project_id, created_at, id);
CREATE TABLE group_snapshots (
    id TEXT PRIMARY KEY, group_id TEXT NOT NULL, project_id TEXT NOT NULL, user_id TEXT NOT NULL, name TEXT, description TEXT,
    type_id TEXT NOT NULL, status TEXT NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT
);
CREATE INDEX group_snapshots_project ON group_snapshots (project_id, created_at, id);
CREATE INDEX group_snapshots_group ON group_snapshots (group_id);
CREATE INDEX snapshots_group_snapshot ON snapshots (group_snapshot_id);
ALTER TABLE services ADD COLUMN frozen BOOLEAN NOT NULL DEFAULT FALSE;
