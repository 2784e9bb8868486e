ALTER TABLE services ADD COLUMN max_over_subscription_ratio DOUBLE PRECISION;
ALTER TABLE services ADD COLUMN reserved_percentage BIGINT;
-- Under which id the storage keeps a volume's data, if not under the volume's own.
ALTER TABLE volumes ADD COLUMN name_id TEXT;
CREATE INDEX volumes_name ON volumes (name_id);
