-- Where the bytes of an image are: one row for each store that has them, under a name that is used once.
CREATE TABLE image_locations (
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    store TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (image_id, store)
);
INSERT INTO image_locations (image_id, store, name) SELECT id, 'file', id FROM images WHERE status IN ('active', 'deactivated');

-- Bytes on their way to an image, and what to do when the process that brings them dies.
CREATE TABLE image_transfers (
    image_id TEXT PRIMARY KEY,
    node TEXT NOT NULL,
    name TEXT NOT NULL,
    stores TEXT NOT NULL,
    back_to TEXT NOT NULL,
    task_id TEXT,
    alive_at BIGINT NOT NULL
);

-- Objects that no image has any more and that are still to be removed from their store.
CREATE TABLE image_leftovers (
    store TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (store, name)
);

CREATE TABLE tasks (
    id TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    owner TEXT NOT NULL,
    user_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    image_id TEXT,
    input TEXT NOT NULL,
    result TEXT,
    message TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    expires_at BIGINT
);
CREATE INDEX tasks_image ON tasks (image_id);
CREATE INDEX tasks_created ON tasks (created_at, id);
