"""Presses the power button of the QEMU whose QMP socket is the argument."""

import json
import socket
import sys

with socket.socket(socket.AF_UNIX) as qmp:
    qmp.settimeout(30)
    qmp.connect(sys.argv[1])
    lines = qmp.makefile("rw")
    lines.readline()
    for command in ("qmp_capabilities", "system_powerdown"):
        lines.write(json.dumps({"execute": command}) + "\n")
        lines.flush()
        while "return" not in json.loads(lines.readline()):
            pass
