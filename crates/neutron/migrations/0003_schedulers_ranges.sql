-- What was said of who serves a network's DHCP: by the scheduler when the network got its first subnet, or by an administrator. Besides,
-- every host with a guest of the network serves it, but for those that are not wanted.
CREATE TABLE dhcp_servers (
    network_id TEXT NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
    host TEXT NOT NULL,
    wanted BOOLEAN NOT NULL,
    PRIMARY KEY (network_id, host)
);
CREATE INDEX dhcp_servers_host ON dhcp_servers (host);

-- An administrator took the router off its host, and shall say where it goes.
ALTER TABLE routers ADD COLUMN held BOOLEAN NOT NULL DEFAULT FALSE;

-- How much of a resource a project has at most: counted up with each creation, and counted anew when it says that the quota is reached.
CREATE TABLE quota_usages (
    project_id TEXT NOT NULL,
    resource TEXT NOT NULL,
    used BIGINT NOT NULL,
    PRIMARY KEY (project_id, resource)
);
