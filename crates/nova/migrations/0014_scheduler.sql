-- Builds that failed on a host since the last that did not.
ALTER TABLE compute_nodes ADD COLUMN failed_builds BIGINT NOT NULL DEFAULT 0;
-- Servers with which something is being done, by host.
CREATE INDEX instances_busy ON instances (host) WHERE task_state IS NOT NULL;
