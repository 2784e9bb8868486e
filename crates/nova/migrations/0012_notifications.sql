-- What was told of an action: nothing (0), its beginning (1), its end (2). Those of before are not told of.
ALTER TABLE actions ADD COLUMN finished_at BIGINT;
ALTER TABLE actions ADD COLUMN told BIGINT NOT NULL DEFAULT 2;
ALTER TABLE shadow_actions ADD COLUMN finished_at BIGINT;
ALTER TABLE shadow_actions ADD COLUMN told BIGINT;
CREATE INDEX actions_untold ON actions (told, started_at) WHERE told < 2;

-- The last notifications, for those who follow them.
CREATE TABLE notifications (
    number BIGINT PRIMARY KEY,
    project_id TEXT NOT NULL,
    instance_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    body TEXT NOT NULL
);
INSERT INTO sequences (name, value) VALUES ('notifications', 0);
