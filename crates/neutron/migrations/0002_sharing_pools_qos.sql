-- Who besides the owner may use an object; target_project is one project or * for all.
CREATE TABLE rbac_policies (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    object_type TEXT NOT NULL,
    object_id TEXT NOT NULL,
    action TEXT NOT NULL,
    target_project TEXT NOT NULL,
    UNIQUE (object_id, action, target_project)
);
CREATE INDEX rbac_policies_target ON rbac_policies (object_type, target_project);
CREATE INDEX rbac_policies_project ON rbac_policies (project_id);

-- Networks were shared by a column; ids of the policies follow from those of the networks.
INSERT INTO rbac_policies (id, project_id, object_type, object_id, action, target_project)
SELECT '5ba4ed00' || substr(id, 9), project_id, 'network', id, 'access_as_shared', '*' FROM networks WHERE shared;
INSERT INTO rbac_policies (id, project_id, object_type, object_id, action, target_project)
SELECT 'e87e4a10' || substr(id, 9), project_id, 'network', id, 'access_as_external', '*' FROM networks WHERE external;
ALTER TABLE networks DROP COLUMN shared;

CREATE TABLE address_scopes (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    ip_version BIGINT NOT NULL
);
CREATE INDEX address_scopes_project ON address_scopes (project_id);

CREATE TABLE subnetpools (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    ip_version BIGINT NOT NULL,
    prefixes TEXT NOT NULL,
    default_prefixlen BIGINT NOT NULL,
    min_prefixlen BIGINT NOT NULL,
    max_prefixlen BIGINT NOT NULL,
    default_quota BIGINT,
    address_scope_id TEXT REFERENCES address_scopes (id),
    is_default BOOLEAN NOT NULL,
    tags TEXT NOT NULL,
    revision_number BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX subnetpools_project ON subnetpools (project_id);
CREATE INDEX subnetpools_scope ON subnetpools (address_scope_id);

ALTER TABLE subnets ADD COLUMN subnetpool_id TEXT REFERENCES subnetpools (id);
ALTER TABLE subnets ADD COLUMN dns_publish_fixed_ip BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX subnets_pool ON subnets (subnetpool_id);

CREATE TABLE address_groups (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    addresses TEXT NOT NULL,
    tags TEXT NOT NULL,
    revision_number BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX address_groups_project ON address_groups (project_id);

ALTER TABLE security_group_rules ADD COLUMN remote_address_group_id TEXT REFERENCES address_groups (id);
CREATE INDEX security_group_rules_addresses ON security_group_rules (remote_address_group_id);

-- What rules new groups begin with.
CREATE TABLE default_security_group_rules (
    id TEXT PRIMARY KEY,
    description TEXT NOT NULL,
    direction TEXT NOT NULL,
    ethertype TEXT NOT NULL,
    protocol TEXT,
    port_range_min BIGINT,
    port_range_max BIGINT,
    remote_ip_prefix TEXT,
    -- a group's id, PARENT for the group that gets the rule
    remote_group_id TEXT,
    remote_address_group_id TEXT,
    used_in_default_sg BOOLEAN NOT NULL,
    used_in_non_default_sg BOOLEAN NOT NULL,
    revision_number BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
INSERT INTO default_security_group_rules
    (id, description, direction, ethertype, remote_group_id, used_in_default_sg, used_in_non_default_sg, revision_number, created_at, updated_at)
VALUES
    ('de4a0170-0000-4000-8000-000000000001', 'Legacy default SG rule for egress traffic', 'egress', 'IPv4', NULL, TRUE, TRUE, 0, 0, 0),
    ('de4a0170-0000-4000-8000-000000000002', 'Legacy default SG rule for egress traffic', 'egress', 'IPv6', NULL, TRUE, TRUE, 0, 0, 0),
    ('de4a0170-0000-4000-8000-000000000003', 'Legacy default SG rule for ingress traffic', 'ingress', 'IPv4', 'PARENT', TRUE, FALSE, 0, 0, 0),
    ('de4a0170-0000-4000-8000-000000000004', 'Legacy default SG rule for ingress traffic', 'ingress', 'IPv6', 'PARENT', TRUE, FALSE, 0, 0, 0);

CREATE TABLE qos_policies (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    is_default BOOLEAN NOT NULL,
    tags TEXT NOT NULL,
    revision_number BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX qos_policies_project ON qos_policies (project_id);

-- One table for all kinds: what a kind has not is null, of which a direction is the empty text.
CREATE TABLE qos_rules (
    id TEXT PRIMARY KEY,
    policy_id TEXT NOT NULL REFERENCES qos_policies (id) ON DELETE CASCADE,
    rule_type TEXT NOT NULL,
    direction TEXT NOT NULL,
    max_kbps BIGINT,
    max_burst_kbps BIGINT,
    min_kbps BIGINT,
    dscp_mark BIGINT,
    UNIQUE (policy_id, rule_type, direction)
);

ALTER TABLE networks ADD COLUMN qos_policy_id TEXT REFERENCES qos_policies (id);
ALTER TABLE ports ADD COLUMN qos_policy_id TEXT REFERENCES qos_policies (id);
ALTER TABLE ports ADD COLUMN dns_domain TEXT NOT NULL DEFAULT '';
ALTER TABLE ports ADD COLUMN data_plane_status TEXT;
ALTER TABLE routers ADD COLUMN qos_policy_id TEXT REFERENCES qos_policies (id);
ALTER TABLE routers ADD COLUMN ha BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE floatingips ADD COLUMN qos_policy_id TEXT REFERENCES qos_policies (id);
ALTER TABLE floatingips ADD COLUMN dns_name TEXT NOT NULL DEFAULT '';
ALTER TABLE floatingips ADD COLUMN dns_domain TEXT NOT NULL DEFAULT '';
CREATE INDEX networks_qos ON networks (qos_policy_id);
CREATE INDEX ports_qos ON ports (qos_policy_id);

-- Bindings of ports to hosts they are moving to; the binding in force stands on the port.
CREATE TABLE inactive_bindings (
    port_id TEXT NOT NULL REFERENCES ports (id) ON DELETE CASCADE,
    host TEXT NOT NULL,
    vnic_type TEXT NOT NULL,
    profile TEXT NOT NULL,
    PRIMARY KEY (port_id, host)
);

CREATE TABLE port_forwardings (
    id TEXT PRIMARY KEY,
    floatingip_id TEXT NOT NULL REFERENCES floatingips (id) ON DELETE CASCADE,
    description TEXT NOT NULL,
    protocol TEXT NOT NULL,
    external_first BIGINT NOT NULL,
    external_last BIGINT NOT NULL,
    internal_port_id TEXT NOT NULL REFERENCES ports (id) ON DELETE CASCADE,
    internal_ip_address TEXT NOT NULL,
    internal_first BIGINT NOT NULL,
    internal_last BIGINT NOT NULL
);
CREATE INDEX port_forwardings_floating ON port_forwardings (floatingip_id);
CREATE INDEX port_forwardings_port ON port_forwardings (internal_port_id);

CREATE TABLE trunks (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    admin_state_up BOOLEAN NOT NULL,
    status TEXT NOT NULL,
    port_id TEXT NOT NULL UNIQUE REFERENCES ports (id),
    tags TEXT NOT NULL,
    revision_number BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX trunks_project ON trunks (project_id);

CREATE TABLE subports (
    port_id TEXT PRIMARY KEY REFERENCES ports (id),
    trunk_id TEXT NOT NULL REFERENCES trunks (id) ON DELETE CASCADE,
    segmentation_type TEXT NOT NULL,
    segmentation_id BIGINT NOT NULL,
    UNIQUE (trunk_id, segmentation_type, segmentation_id)
);

CREATE TABLE metering_labels (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    shared BOOLEAN NOT NULL
);
CREATE INDEX metering_labels_project ON metering_labels (project_id);

CREATE TABLE metering_label_rules (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    metering_label_id TEXT NOT NULL REFERENCES metering_labels (id) ON DELETE CASCADE,
    direction TEXT NOT NULL,
    excluded BOOLEAN NOT NULL,
    remote_ip_prefix TEXT,
    source_ip_prefix TEXT,
    destination_ip_prefix TEXT
);
CREATE INDEX metering_label_rules_label ON metering_label_rules (metering_label_id);

-- Hosts beside routers.host that stand by for a router with ha.
CREATE TABLE standby_routers (
    router_id TEXT NOT NULL REFERENCES routers (id) ON DELETE CASCADE,
    host TEXT NOT NULL,
    PRIMARY KEY (router_id, host)
);
CREATE INDEX standby_routers_host ON standby_routers (host);

ALTER TABLE agents ADD COLUMN vtep TEXT;

-- Topologies that were made for projects on their first request.
CREATE TABLE auto_topologies (
    project_id TEXT PRIMARY KEY,
    network_id TEXT NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
    router_id TEXT NOT NULL REFERENCES routers (id) ON DELETE CASCADE
);
