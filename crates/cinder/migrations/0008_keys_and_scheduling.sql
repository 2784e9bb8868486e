CREATE TABLE encryption_keys (
    id TEXT PRIMARY KEY, project_id TEXT NOT NULL, cipher TEXT NOT NULL, sealed TEXT NOT NULL, created_at BIGINT NOT NULL
);
ALTER TABLE services ADD COLUMN filter_function TEXT;
ALTER TABLE services ADD COLUMN goodness_function TEXT;
