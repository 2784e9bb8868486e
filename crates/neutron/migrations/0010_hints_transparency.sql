-- What a port asks of whoever wires it, and networks that carry their guests' own VLANs.
ALTER TABLE ports ADD COLUMN hints TEXT NOT NULL DEFAULT 'null';
ALTER TABLE ports ADD COLUMN numa_affinity_policy TEXT;
ALTER TABLE networks ADD COLUMN vlan_transparent BOOLEAN;
