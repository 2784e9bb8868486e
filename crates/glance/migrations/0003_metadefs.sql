CREATE TABLE metadef_namespaces (
    namespace TEXT PRIMARY KEY,
    display_name TEXT,
    description TEXT,
    visibility TEXT NOT NULL,
    protected BOOLEAN NOT NULL,
    owner TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Objects, properties and tags of a namespace, by their kind.
CREATE TABLE metadef_items (
    namespace TEXT NOT NULL REFERENCES metadef_namespaces (namespace) ON DELETE CASCADE ON UPDATE CASCADE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    definition TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (namespace, kind, name)
);

CREATE TABLE metadef_resource_types (
    name TEXT PRIMARY KEY,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE metadef_associations (
    namespace TEXT NOT NULL REFERENCES metadef_namespaces (namespace) ON DELETE CASCADE ON UPDATE CASCADE,
    resource_type TEXT NOT NULL,
    prefix TEXT,
    properties_target TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (namespace, resource_type)
);

-- Namespaces that came with Cumulo: one that was deleted stays so.
CREATE TABLE metadef_defaults (
    namespace TEXT PRIMARY KEY
);
