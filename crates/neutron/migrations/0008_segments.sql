-- What carries networks, each part a resource of its own. No number is 0, and no physical network the empty text.
CREATE TABLE network_segments (
    id TEXT PRIMARY KEY,
    network_id TEXT NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
    segment_index BIGINT NOT NULL,
    name TEXT,
    description TEXT,
    network_type TEXT NOT NULL,
    physical_network TEXT NOT NULL,
    segmentation_id BIGINT NOT NULL,
    revision_number BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX network_segments_carrier ON network_segments (network_type, physical_network, segmentation_id)
    WHERE network_type <> 'local';
CREATE INDEX network_segments_network ON network_segments (network_id);
CREATE INDEX network_segments_further ON network_segments (network_id) WHERE segment_index > 0;

-- Every network had one; their ids follow from those of the networks.
INSERT INTO network_segments
    (id, network_id, segment_index, network_type, physical_network, segmentation_id, revision_number, created_at, updated_at)
SELECT '5e94e470' || substr(id, 9), id, 0, network_type, COALESCE(physical_network, ''), COALESCE(segmentation_id, 0), 0, created_at, updated_at
FROM networks;
DROP TABLE segments;

ALTER TABLE subnets ADD COLUMN segment_id TEXT REFERENCES network_segments (id);
CREATE INDEX subnets_segment ON subnets (segment_id);

-- A port of a network of several segments gets its addresses when it is known on which of them it is.
ALTER TABLE ports ADD COLUMN deferred BOOLEAN NOT NULL DEFAULT FALSE;

-- Physical networks that the host is joined to.
ALTER TABLE agents ADD COLUMN physical_networks TEXT;

-- Numbers that are given out when none is asked for: to everybody, or to one project alone.
CREATE TABLE network_segment_ranges (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    is_default BOOLEAN NOT NULL,
    shared BOOLEAN NOT NULL,
    project_id TEXT,
    network_type TEXT NOT NULL,
    physical_network TEXT NOT NULL,
    minimum BIGINT NOT NULL,
    maximum BIGINT NOT NULL,
    tags TEXT NOT NULL,
    revision_number BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
