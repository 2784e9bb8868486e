-- What notifications say of an action beyond its server: the volume, the image, the flavor.
ALTER TABLE actions ADD COLUMN details TEXT;
ALTER TABLE shadow_actions ADD COLUMN details TEXT;

-- The accounts of servers that were told, by host and period.
CREATE TABLE usage_audits (
    host TEXT NOT NULL,
    period_beginning BIGINT NOT NULL,
    period_ending BIGINT NOT NULL,
    state TEXT NOT NULL,
    task_items BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (host, period_beginning, period_ending)
);
