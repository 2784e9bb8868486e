-- Members of groups that bring more than their own addresses: few, and found without looking at the others.
ALTER TABLE port_security_groups ADD COLUMN paired BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE port_security_groups SET paired = TRUE WHERE port_id IN (SELECT id FROM ports WHERE allowed_address_pairs <> '[]');
CREATE INDEX port_security_groups_paired ON port_security_groups (security_group_id) WHERE paired;
