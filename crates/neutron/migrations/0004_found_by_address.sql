-- By an address one looks for ports and floating IPs, and whether it is a member of a security group.
CREATE INDEX ip_allocations_address ON ip_allocations (ip_address);
CREATE INDEX floatingips_address ON floatingips (floating_ip_address);
CREATE INDEX ports_mac ON ports (mac_address);
