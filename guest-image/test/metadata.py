"""What a cloud tells its guest, for test.sh: `openstack` and `ec2` serve it at 169.254.169.254, `config-drive` writes it to
WORK/tree. Each source says something else (hostnames above all), so that a check knows which one the guest read."""

import gzip
import http.server
import json
import pathlib
import sys

mode, work = sys.argv[1], pathlib.Path(sys.argv[2])
first, second = [(work / f"id_{name}.pub").read_text() for name in ("first", "second")]
script = b"#!/bin/sh\necho ran as $(id -un) > /user-data-ran\necho once >> /user-data-count\n"
meta_data = {
    "uuid": "6f3f1d2e-0000-4000-8000-000000000001",
    "hostname": "metadata-host.novalocal",
    "name": "metadata host",
    "public_keys": {"first": first},
    "keys": [{"name": "first", "type": "ssh", "data": first}, {"name": "second", "type": "ssh", "data": second}],
}
openstack = {
    "/openstack/latest/meta_data.json": json.dumps(meta_data).encode(),
    "/openstack/latest/user_data": gzip.compress(script),
    "/latest/meta-data/instance-id": b"i-00000001",
}
ec2 = {
    "/2009-04-04/meta-data/instance-id": b"i-00000002",
    "/2009-04-04/meta-data/hostname": b"ec2-host.novalocal",
    "/2009-04-04/meta-data/public-keys/": b"0=first\n1=second",
    "/2009-04-04/meta-data/public-keys/0/openssh-key": first.encode(),
    "/2009-04-04/meta-data/public-keys/1/openssh-key": second.encode(),
    "/2009-04-04/user-data": script,
}


class Handler(http.server.BaseHTTPRequestHandler):
    answers = openstack if mode == "openstack" else ec2

    def do_GET(self):
        body = self.answers.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")


def write_drive():
    latest = work / "tree/openstack/latest"
    drive = meta_data | {"hostname": "drive-host", "admin_pass": 'Adm1n"pa$s#&/'}
    network = {
        "links": [{"id": "tap1", "type": "bridge", "ethernet_mac_address": "FA:16:3E:00:00:05", "mtu": 1350}],
        "networks": [{
            "id": "network0", "type": "ipv4", "link": "tap1", "ip_address": "10.9.0.77", "netmask": "255.255.255.0",
            "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.9.0.1"}],
            "services": [{"type": "dns", "address": "10.9.0.53"}],
        }],
        "services": [],
    }
    (latest / "meta_data.json").write_text(json.dumps(drive, indent=1))
    (latest / "network_data.json").write_text(json.dumps(network))
    (latest / "user_data").write_bytes(script)


if mode == "config-drive":
    write_drive()
else:
    http.server.ThreadingHTTPServer(("169.254.169.254", 80), Handler).serve_forever()
