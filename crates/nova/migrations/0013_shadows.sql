-- What is purged is found by its server.
CREATE INDEX shadow_instances_id ON shadow_instances (id);
CREATE INDEX shadow_block_devices_instance ON shadow_block_devices (instance_id);
CREATE INDEX shadow_actions_instance ON shadow_actions (instance_id);
CREATE INDEX shadow_action_events_instance ON shadow_action_events (instance_id);
CREATE INDEX shadow_migrations_instance ON shadow_migrations (instance_id);
