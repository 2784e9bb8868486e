CREATE TABLE type_encryption (
    type_id TEXT PRIMARY KEY, id TEXT NOT NULL, provider TEXT NOT NULL, cipher TEXT, key_size BIGINT, control_location TEXT NOT NULL,
    created_at BIGINT NOT NULL, updated_at BIGINT
);
