-- Host aggregates: hosts under a name, with metadata; one that names an availability zone puts its hosts in it.
CREATE TABLE aggregates (
    number BIGINT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    metadata TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT
);
CREATE TABLE aggregate_hosts (number BIGINT NOT NULL, host TEXT NOT NULL, PRIMARY KEY (number, host));
INSERT INTO sequences (name, value) VALUES ('aggregates', 0);
