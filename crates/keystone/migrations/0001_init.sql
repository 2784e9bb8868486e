-- A domain is a project that acts as one: `is_domain`, in no domain itself (domain_id ''), the parent of the projects at its top.
CREATE TABLE projects (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    domain_id TEXT NOT NULL,
    parent_id TEXT,
    is_domain BOOLEAN NOT NULL,
    description TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    -- tokens issued earlier are void: set when the project is disabled
    tokens_valid_from BIGINT NOT NULL,
    tags TEXT NOT NULL,
    options TEXT NOT NULL,
    extra TEXT NOT NULL,
    UNIQUE (domain_id, name)
);
CREATE INDEX projects_by_parent ON projects (parent_id);

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    domain_id TEXT NOT NULL,
    default_project_id TEXT,
    password_hash TEXT,
    enabled BOOLEAN NOT NULL,
    -- tokens issued earlier are void: set when the password changes or the user is disabled
    tokens_valid_from BIGINT NOT NULL,
    options TEXT NOT NULL,
    extra TEXT NOT NULL,
    UNIQUE (domain_id, name)
);

CREATE TABLE user_groups (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    domain_id TEXT NOT NULL,
    description TEXT NOT NULL,
    extra TEXT NOT NULL,
    UNIQUE (domain_id, name)
);

CREATE TABLE group_members (
    group_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_members_by_user ON group_members (user_id);

-- A global role is in no domain (domain_id '').
CREATE TABLE roles (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    domain_id TEXT NOT NULL,
    description TEXT,
    options TEXT NOT NULL,
    extra TEXT NOT NULL,
    UNIQUE (domain_id, name)
);

CREATE TABLE implied_roles (
    prior_role_id TEXT NOT NULL,
    implied_role_id TEXT NOT NULL,
    PRIMARY KEY (prior_role_id, implied_role_id)
);

-- Who (user or group) has which role on what (project, domain or system).
CREATE TABLE assignments (
    actor_kind TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    target_kind TEXT NOT NULL,
    target_id TEXT NOT NULL,
    role_id TEXT NOT NULL,
    inherited BOOLEAN NOT NULL,
    PRIMARY KEY (actor_id, target_kind, target_id, role_id, inherited)
);
CREATE INDEX assignments_by_target ON assignments (target_id);
CREATE INDEX assignments_by_role ON assignments (role_id);

CREATE TABLE regions (
    id TEXT PRIMARY KEY,
    description TEXT NOT NULL,
    parent_region_id TEXT,
    extra TEXT NOT NULL
);

CREATE TABLE services (
    id TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    name TEXT,
    description TEXT,
    enabled BOOLEAN NOT NULL,
    extra TEXT NOT NULL
);

CREATE TABLE endpoints (
    id TEXT PRIMARY KEY,
    service_id TEXT NOT NULL REFERENCES services (id),
    interface TEXT NOT NULL,
    region_id TEXT REFERENCES regions (id),
    url TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    extra TEXT NOT NULL
);
CREATE INDEX endpoints_by_service ON endpoints (service_id);

CREATE TABLE application_credentials (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    user_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    description TEXT,
    expires_at BIGINT,
    unrestricted BOOLEAN NOT NULL,
    roles TEXT NOT NULL,
    UNIQUE (user_id, name)
);

-- Tokens taken back one by one, until they would have expired anyway.
CREATE TABLE revoked_tokens (
    audit_id TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX revoked_tokens_by_expiry ON revoked_tokens (expires_at);

-- Counts the changes of roles, their implications and the catalog, which processes keep in memory.
CREATE TABLE reference_version (
    id BIGINT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO reference_version (id, value) VALUES (1, 1);
