-- Who vouches for people from elsewhere. What they say is kept here; the exchange itself needs a front end that speaks SAML or OIDC.
CREATE TABLE identity_providers (
    id TEXT PRIMARY KEY,
    enabled BOOLEAN NOT NULL,
    description TEXT,
    domain_id TEXT NOT NULL,
    -- minutes
    authorization_ttl BIGINT
);
-- The names by which identity providers call themselves.
CREATE TABLE identity_provider_remote_ids (
    remote_id TEXT PRIMARY KEY,
    idp_id TEXT NOT NULL
);
CREATE INDEX remote_ids_by_identity_provider ON identity_provider_remote_ids (idp_id);
CREATE TABLE federation_protocols (
    idp_id TEXT NOT NULL,
    id TEXT NOT NULL,
    mapping_id TEXT NOT NULL,
    remote_id_attribute TEXT,
    PRIMARY KEY (idp_id, id)
);
CREATE TABLE mappings (
    id TEXT PRIMARY KEY,
    rules TEXT NOT NULL,
    schema_version TEXT NOT NULL
);
CREATE TABLE service_providers (
    id TEXT PRIMARY KEY,
    enabled BOOLEAN NOT NULL,
    description TEXT,
    auth_url TEXT NOT NULL,
    sp_url TEXT NOT NULL,
    relay_state_prefix TEXT NOT NULL
);

-- OAuth 1.0a: what a consumer asked for, and what a user granted it; the secrets are encrypted.
CREATE TABLE request_tokens (
    id TEXT PRIMARY KEY,
    sealed TEXT NOT NULL,
    consumer_id TEXT NOT NULL,
    requested_project_id TEXT NOT NULL,
    -- set when a user has granted it: a code, who that is, and ids of roles
    verifier TEXT,
    authorizing_user_id TEXT,
    roles TEXT,
    expires_at BIGINT
);
CREATE INDEX request_tokens_by_consumer ON request_tokens (consumer_id);
CREATE TABLE access_tokens (
    id TEXT PRIMARY KEY,
    sealed TEXT NOT NULL,
    consumer_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    authorizing_user_id TEXT NOT NULL,
    roles TEXT NOT NULL,
    expires_at BIGINT
);
CREATE INDEX access_tokens_by_consumer ON access_tokens (consumer_id);
CREATE INDEX access_tokens_by_user ON access_tokens (authorizing_user_id);

-- When a user last logged in, or was made or enabled; 0 where nobody noted it.
ALTER TABLE users ADD COLUMN last_active_at BIGINT NOT NULL DEFAULT 0;
