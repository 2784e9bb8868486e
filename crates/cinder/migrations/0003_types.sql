ALTER TABLE volumes ADD COLUMN group_id TEXT;
ALTER TABLE volumes ADD COLUMN encryption_key_id TEXT;
CREATE INDEX volumes_group ON volumes (group_id);
CREATE INDEX volumes_type ON volumes (type_id);
ALTER TABLE snapshots ADD COLUMN group_snapshot_id TEXT;
ALTER TABLE volume_types ADD COLUMN qos_id TEXT;
CREATE TABLE type_access (type_id TEXT NOT NULL, project_id TEXT NOT NULL, PRIMARY KEY (type_id, project_id));
CREATE TABLE default_types (project_id TEXT PRIMARY KEY, type_id TEXT NOT NULL);
CREATE TABLE qos_specs (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, consumer TEXT NOT NULL, specs TEXT NOT NULL, created_at BIGINT NOT NULL
);
CREATE TABLE transfers (
    id TEXT PRIMARY KEY, volume_id TEXT NOT NULL, name TEXT, salt TEXT NOT NULL, digest TEXT NOT NULL, no_snapshots BOOLEAN NOT NULL,
    project_id TEXT NOT NULL, created_at BIGINT NOT NULL
);
CREATE INDEX transfers_volume ON transfers (volume_id);
CREATE TABLE messages (
    id TEXT PRIMARY KEY, project_id TEXT NOT NULL, request_id TEXT NOT NULL, resource_type TEXT NOT NULL, resource_uuid TEXT,
    event_id TEXT NOT NULL, user_message TEXT NOT NULL, message_level TEXT NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL
);
CREATE INDEX messages_project ON messages (project_id, created_at);
CREATE INDEX messages_expiry ON messages (expires_at);
