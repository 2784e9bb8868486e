CREATE TABLE default_statefulness (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL UNIQUE,
    stateful BOOLEAN NOT NULL
);
ALTER TABLE agents ADD COLUMN interface_mappings TEXT;
