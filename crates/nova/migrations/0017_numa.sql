-- What a server was given of its host's NUMA nodes, as the host told it last.
ALTER TABLE instances ADD COLUMN numa_topology TEXT;
ALTER TABLE shadow_instances ADD COLUMN numa_topology TEXT;
