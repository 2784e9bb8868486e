CREATE TABLE flavors (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    service_type TEXT NOT NULL,
    enabled BOOLEAN NOT NULL
);
CREATE TABLE service_profiles (
    id TEXT PRIMARY KEY,
    description TEXT NOT NULL,
    driver TEXT NOT NULL,
    metainfo TEXT NOT NULL,
    enabled BOOLEAN NOT NULL
);
CREATE TABLE flavor_profiles (
    flavor_id TEXT NOT NULL REFERENCES flavors (id) ON DELETE CASCADE,
    service_profile_id TEXT NOT NULL REFERENCES service_profiles (id),
    PRIMARY KEY (flavor_id, service_profile_id)
);
CREATE INDEX flavor_profiles_profile ON flavor_profiles (service_profile_id);
