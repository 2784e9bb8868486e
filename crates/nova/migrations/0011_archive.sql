-- What became of deleted servers, out of the way of those there are: a table beside each, of the same columns.
CREATE TABLE shadow_instances AS SELECT * FROM instances WHERE 1 = 0;
CREATE TABLE shadow_block_devices AS SELECT * FROM block_devices WHERE 1 = 0;
CREATE TABLE shadow_actions AS SELECT * FROM actions WHERE 1 = 0;
CREATE TABLE shadow_action_events AS SELECT * FROM action_events WHERE 1 = 0;
CREATE TABLE shadow_migrations AS SELECT * FROM migrations WHERE 1 = 0;
CREATE INDEX shadow_instances_deleted ON shadow_instances (deleted_at);
CREATE INDEX instances_deleted ON instances (deleted, deleted_at);

-- Allocations that could not be given back when what they were for was over.
CREATE TABLE leftover_allocations (consumer_id TEXT PRIMARY KEY, since BIGINT NOT NULL);
