-- Images that were deleted and whose data waits for the scrubber: all that is needed to bring one back.
CREATE TABLE pending_deletes (
    id TEXT PRIMARY KEY,
    image TEXT NOT NULL,
    deleted_at BIGINT NOT NULL
);
CREATE INDEX pending_deletes_time ON pending_deletes (deleted_at);
