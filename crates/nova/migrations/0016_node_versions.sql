-- Counts how often what a host has was written, so that only what changed is read again.
ALTER TABLE compute_nodes ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
