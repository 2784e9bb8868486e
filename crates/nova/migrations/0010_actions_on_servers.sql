-- Moves of servers to other hosts or flavors: what they had before, so that it can be had again. Allocations of the old place are held by `id`.
CREATE TABLE migrations (
    number BIGINT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    instance_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    migration_type TEXT NOT NULL,
    status TEXT NOT NULL,
    source_host TEXT,
    source_node TEXT,
    dest_host TEXT,
    dest_node TEXT,
    old_flavor TEXT NOT NULL,
    new_flavor TEXT NOT NULL,
    -- the server's vm_state before
    old_vm_state TEXT NOT NULL,
    -- bytes of memory and disks: in all, done, left
    progress TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX migrations_instance ON migrations (instance_id, created_at DESC);
CREATE INDEX migrations_changed ON migrations (updated_at);
INSERT INTO sequences (name, value) VALUES ('migrations', 0);

-- Consoles that were opened: where the proxy finds them.
CREATE TABLE console_tokens (
    token TEXT PRIMARY KEY,
    instance_id TEXT NOT NULL,
    host TEXT NOT NULL,
    port BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX console_tokens_expiry ON console_tokens (expires_at);

-- What a shelved server is to be unshelved from, and since when.
ALTER TABLE instances ADD COLUMN shelved TEXT;
-- The state to come back to: of a server that is soft-deleted.
ALTER TABLE instances ADD COLUMN kept_vm_state TEXT;
-- What the guest made known, encrypted with the user's key.
ALTER TABLE instances ADD COLUMN password TEXT;
-- The fixed addresses in network_info, between commas, for the filters by address.
ALTER TABLE instances ADD COLUMN addresses TEXT NOT NULL DEFAULT '';
