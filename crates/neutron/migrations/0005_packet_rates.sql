-- Of packets, in thousands a second.
ALTER TABLE qos_rules ADD COLUMN max_kpps BIGINT;
ALTER TABLE qos_rules ADD COLUMN max_burst_kpps BIGINT;
ALTER TABLE qos_rules ADD COLUMN min_kpps BIGINT;
