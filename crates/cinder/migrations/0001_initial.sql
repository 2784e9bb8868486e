CREATE TABLE volumes (
    id TEXT PRIMARY KEY, project_id TEXT NOT NULL, user_id TEXT NOT NULL, name TEXT, description TEXT, size BIGINT NOT NULL,
    status TEXT NOT NULL, attach_status TEXT NOT NULL, migration_status TEXT, bootable BOOLEAN NOT NULL, multiattach BOOLEAN NOT NULL,
    readonly BOOLEAN NOT NULL, availability_zone TEXT NOT NULL, host TEXT, type_id TEXT NOT NULL, snapshot_id TEXT, source_volid TEXT,
    created_at BIGINT NOT NULL, updated_at BIGINT
);
CREATE INDEX volumes_project ON volumes (project_id, created_at, id);
CREATE INDEX volumes_created ON volumes (created_at, id);
CREATE INDEX volumes_host ON volumes (host);
CREATE TABLE volume_metadata (
    volume_id TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (volume_id, kind, key)
);
CREATE TABLE attachments (
    id TEXT PRIMARY KEY, volume_id TEXT NOT NULL, project_id TEXT NOT NULL, instance_id TEXT, host TEXT, mountpoint TEXT,
    status TEXT NOT NULL, mode TEXT NOT NULL, connector TEXT, connection_info TEXT, created_at BIGINT NOT NULL, attached_at BIGINT
);
CREATE INDEX attachments_volume ON attachments (volume_id);
CREATE INDEX attachments_instance ON attachments (instance_id);
CREATE TABLE snapshots (
    id TEXT PRIMARY KEY, volume_id TEXT NOT NULL, project_id TEXT NOT NULL, user_id TEXT NOT NULL, name TEXT, description TEXT,
    size BIGINT NOT NULL, status TEXT NOT NULL, metadata TEXT NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT
);
CREATE INDEX snapshots_project ON snapshots (project_id, created_at, id);
CREATE INDEX snapshots_volume ON snapshots (volume_id);
CREATE TABLE volume_types (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT, is_public BOOLEAN NOT NULL, extra_specs TEXT NOT NULL,
    created_at BIGINT NOT NULL, updated_at BIGINT
);
CREATE TABLE quota_limits (owner TEXT NOT NULL, resource TEXT NOT NULL, hard_limit BIGINT NOT NULL, PRIMARY KEY (owner, resource));
CREATE TABLE quota_usages (project_id TEXT NOT NULL, resource TEXT NOT NULL, in_use BIGINT NOT NULL, PRIMARY KEY (project_id, resource));
CREATE TABLE services (
    id TEXT PRIMARY KEY, host TEXT NOT NULL, kind TEXT NOT NULL, availability_zone TEXT NOT NULL, disabled BOOLEAN NOT NULL,
    disabled_reason TEXT, total_gb DOUBLE PRECISION NOT NULL, free_gb DOUBLE PRECISION NOT NULL, protocol TEXT NOT NULL,
    seen_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, UNIQUE (host, kind)
);
