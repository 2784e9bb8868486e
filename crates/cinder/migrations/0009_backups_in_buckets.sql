-- The bucket a backup is in, from which every host reads it, and the key of a backup that is encrypted.
ALTER TABLE backups ADD COLUMN bucket TEXT;
ALTER TABLE backups ADD COLUMN encryption_key_id TEXT;
-- The image that a key is kept for.
ALTER TABLE encryption_keys ADD COLUMN image_id TEXT;
