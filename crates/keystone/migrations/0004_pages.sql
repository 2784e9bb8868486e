-- Pages of what is in a domain, in the order of their ids; and what has a name, whatever the domain.
CREATE INDEX users_by_domain ON users (domain_id, id);
CREATE INDEX users_by_name ON users (name, id);
CREATE INDEX projects_by_domain ON projects (domain_id, id);
CREATE INDEX projects_by_name ON projects (name, id);
CREATE INDEX groups_by_domain ON user_groups (domain_id, id);
CREATE INDEX groups_by_name ON user_groups (name, id);
-- What goes with a project when that is deleted.
CREATE INDEX application_credentials_by_project ON application_credentials (project_id);
CREATE INDEX credentials_by_project ON credentials (project_id);
CREATE INDEX trusts_by_project ON trusts (project_id);
