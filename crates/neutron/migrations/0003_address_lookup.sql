-- Whether an address is in a security group is asked for every host at every change: from the address to its port.
CREATE INDEX ip_allocations_address ON ip_allocations (ip_address);
