-- Nova's own tables. Times are microseconds since the epoch, JSON is text.

-- One number per name, raised inside the transaction that uses it.
CREATE TABLE sequences (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
INSERT INTO sequences (name, value) VALUES ('instances', 0), ('services', 0), ('keypairs', 0);

CREATE TABLE instances (
    id TEXT PRIMARY KEY,
    number BIGINT NOT NULL,
    deleted BOOLEAN NOT NULL,
    project_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    hostname TEXT NOT NULL,
    description TEXT,
    vm_state TEXT NOT NULL,
    task_state TEXT,
    power_state BIGINT NOT NULL,
    locked BOOLEAN NOT NULL,
    locked_by TEXT,
    locked_reason TEXT,
    host TEXT,
    node TEXT,
    availability_zone TEXT,
    image_id TEXT,
    flavor_id TEXT NOT NULL,
    vcpus BIGINT NOT NULL,
    ram_mb BIGINT NOT NULL,
    key_name TEXT,
    config_drive BOOLEAN NOT NULL,
    disk_config TEXT NOT NULL,
    access_ip_v4 TEXT,
    access_ip_v6 TEXT,
    reservation_id TEXT NOT NULL,
    launch_index BIGINT NOT NULL,
    root_device_name TEXT,
    user_data TEXT,
    -- documents that are shown as they are
    flavor TEXT NOT NULL,
    metadata TEXT NOT NULL,
    tags TEXT NOT NULL,
    security_groups TEXT NOT NULL,
    network_info TEXT NOT NULL,
    fault TEXT,
    -- what only a build needs
    spec TEXT NOT NULL,
    build_outcome TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    launched_at BIGINT,
    terminated_at BIGINT,
    deleted_at BIGINT
);
CREATE INDEX instances_project ON instances (deleted, project_id, created_at DESC, id DESC);
CREATE INDEX instances_all ON instances (deleted, created_at DESC, id DESC);
CREATE INDEX instances_host ON instances (host, deleted);
CREATE INDEX instances_changed ON instances (updated_at);
CREATE INDEX instances_reservation ON instances (reservation_id);

CREATE TABLE block_devices (
    id TEXT PRIMARY KEY,
    instance_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    source_type TEXT NOT NULL,
    destination_type TEXT NOT NULL,
    image_id TEXT,
    snapshot_id TEXT,
    volume_id TEXT,
    volume_size BIGINT,
    volume_type TEXT,
    boot_index BIGINT,
    delete_on_termination BOOLEAN NOT NULL,
    device_name TEXT,
    disk_bus TEXT,
    device_type TEXT,
    guest_format TEXT,
    tag TEXT,
    attachment_id TEXT,
    connection_info TEXT,
    created_at BIGINT NOT NULL
);
CREATE INDEX block_devices_instance ON block_devices (instance_id, position);
CREATE INDEX block_devices_volume ON block_devices (volume_id);

CREATE TABLE actions (
    id TEXT PRIMARY KEY,
    instance_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    action TEXT NOT NULL,
    project_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    message TEXT,
    started_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX actions_instance ON actions (instance_id, started_at);

CREATE TABLE action_events (
    instance_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    event TEXT NOT NULL,
    event_from TEXT NOT NULL,
    event_to TEXT NOT NULL,
    host TEXT,
    started_at BIGINT NOT NULL,
    finished_at BIGINT,
    result TEXT,
    details TEXT,
    PRIMARY KEY (instance_id, request_id, event, started_at)
);

CREATE TABLE flavors (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    description TEXT,
    ram_mb BIGINT NOT NULL,
    vcpus BIGINT NOT NULL,
    root_gb BIGINT NOT NULL,
    ephemeral_gb BIGINT NOT NULL,
    swap_mb BIGINT NOT NULL,
    rxtx_factor DOUBLE PRECISION NOT NULL,
    is_public BOOLEAN NOT NULL,
    disabled BOOLEAN NOT NULL,
    extra_specs TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE flavor_access (flavor_id TEXT NOT NULL, project_id TEXT NOT NULL, PRIMARY KEY (flavor_id, project_id));

CREATE TABLE keypairs (
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    number BIGINT NOT NULL,
    public_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    key_type TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, name)
);

CREATE TABLE services (
    id TEXT PRIMARY KEY,
    number BIGINT NOT NULL,
    host TEXT NOT NULL,
    service TEXT NOT NULL,
    zone TEXT NOT NULL,
    disabled BOOLEAN NOT NULL,
    disabled_reason TEXT,
    forced_down BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    reported_at BIGINT NOT NULL,
    updated_at BIGINT,
    UNIQUE (host, service)
);

CREATE TABLE compute_nodes (
    id TEXT PRIMARY KEY,
    service_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    host TEXT NOT NULL UNIQUE,
    hypervisor_hostname TEXT NOT NULL,
    inventory TEXT NOT NULL
);

CREATE TABLE quota_limits (
    scope TEXT NOT NULL,
    resource TEXT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (scope, resource)
);

-- What a project uses, kept in the transactions that change it and recounted now and then.
CREATE TABLE quota_usages (
    project_id TEXT PRIMARY KEY,
    instances BIGINT NOT NULL,
    cores BIGINT NOT NULL,
    ram BIGINT NOT NULL
);

CREATE TABLE server_groups (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    policy TEXT NOT NULL,
    max_server_per_host BIGINT,
    created_at BIGINT NOT NULL
);
CREATE INDEX server_groups_project ON server_groups (project_id);
CREATE TABLE server_group_members (group_id TEXT NOT NULL, instance_id TEXT NOT NULL, PRIMARY KEY (group_id, instance_id));
CREATE INDEX server_group_members_instance ON server_group_members (instance_id);
