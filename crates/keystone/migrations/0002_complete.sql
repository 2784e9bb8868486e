-- What a password policy needs to know of a user.
ALTER TABLE users ADD COLUMN password_set_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN password_expires_at BIGINT;
-- hashes of earlier passwords, the latest first
ALTER TABLE users ADD COLUMN password_history TEXT NOT NULL DEFAULT '[]';
ALTER TABLE users ADD COLUMN failed_logins BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN failed_login_at BIGINT NOT NULL DEFAULT 0;

ALTER TABLE revoked_tokens ADD COLUMN revoked_at BIGINT NOT NULL DEFAULT 0;

-- Access rules narrow what an application credential may call; ids of its rules, or null for everything.
ALTER TABLE application_credentials ADD COLUMN access_rules TEXT;
CREATE TABLE access_rules (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    service TEXT NOT NULL,
    path TEXT NOT NULL,
    method TEXT NOT NULL,
    UNIQUE (user_id, service, path, method)
);

-- Secrets of users for other ways to log in (ec2, totp) or for other programs; the blob is encrypted.
CREATE TABLE credentials (
    id TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    user_id TEXT NOT NULL,
    project_id TEXT,
    sealed TEXT NOT NULL,
    extra TEXT NOT NULL
);
CREATE INDEX credentials_by_user ON credentials (user_id);

CREATE TABLE trusts (
    id TEXT PRIMARY KEY,
    trustor_user_id TEXT NOT NULL,
    trustee_user_id TEXT NOT NULL,
    project_id TEXT,
    impersonation BOOLEAN NOT NULL,
    -- ids
    roles TEXT NOT NULL,
    expires_at BIGINT,
    remaining_uses BIGINT,
    redelegated_trust_id TEXT,
    redelegation_count BIGINT NOT NULL,
    deleted_at BIGINT,
    extra TEXT NOT NULL
);
CREATE INDEX trusts_by_trustor ON trusts (trustor_user_id);
CREATE INDEX trusts_by_trustee ON trusts (trustee_user_id);

CREATE TABLE policies (
    id TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    blob TEXT NOT NULL,
    extra TEXT NOT NULL
);
-- A policy of an endpoint, of a service, or of a service in a region ('' where it does not matter).
CREATE TABLE policy_associations (
    policy_id TEXT NOT NULL,
    endpoint_id TEXT NOT NULL,
    service_id TEXT NOT NULL,
    region_id TEXT NOT NULL,
    PRIMARY KEY (endpoint_id, service_id, region_id)
);

CREATE TABLE registered_limits (
    id TEXT PRIMARY KEY,
    service_id TEXT NOT NULL,
    region_id TEXT NOT NULL,
    resource_name TEXT NOT NULL,
    default_limit BIGINT NOT NULL,
    description TEXT,
    UNIQUE (service_id, region_id, resource_name)
);
-- A limit of a project or of a domain ('' for the other).
CREATE TABLE limits (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    domain_id TEXT NOT NULL,
    service_id TEXT NOT NULL,
    region_id TEXT NOT NULL,
    resource_name TEXT NOT NULL,
    resource_limit BIGINT NOT NULL,
    description TEXT,
    UNIQUE (project_id, domain_id, service_id, region_id, resource_name)
);

-- Which endpoints the catalog of a project has, where that is narrowed.
CREATE TABLE project_endpoints (
    project_id TEXT NOT NULL,
    endpoint_id TEXT NOT NULL,
    PRIMARY KEY (project_id, endpoint_id)
);
CREATE TABLE endpoint_groups (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    filters TEXT NOT NULL
);
CREATE TABLE project_endpoint_groups (
    project_id TEXT NOT NULL,
    endpoint_group_id TEXT NOT NULL,
    PRIMARY KEY (project_id, endpoint_group_id)
);

CREATE TABLE domain_configs (
    domain_id TEXT NOT NULL,
    section TEXT NOT NULL,
    option_name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (domain_id, section, option_name)
);

-- Digests of what bootstrap last found in order, so that the next start need not verify passwords again.
CREATE TABLE bootstrap_marks (
    name TEXT PRIMARY KEY,
    digest TEXT NOT NULL
);

-- Programs that may be told to act for users.
CREATE TABLE consumers (
    id TEXT PRIMARY KEY,
    description TEXT,
    sealed TEXT NOT NULL,
    extra TEXT NOT NULL
);
