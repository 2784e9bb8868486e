"""Runs lines of openstack commands in one process, which spares each the second that the client takes to start.

usage: commands.py < LINES     a line is one of
  COMMAND                  must succeed
  COMMAND ~ PATTERN        must succeed and print it
  ! COMMAND ~ PATTERN      must fail and say it
  NAME = COMMAND           must succeed; what it prints is $NAME afterwards, in commands and patterns
"""
import contextlib
import io
import logging
import os
import re
import shlex
import string
import sys

from openstackclient import shell

names = {"work": os.environ["work"]}


def filled(text):
    return string.Template(text).safe_substitute(names)


def run(command):
    said = io.StringIO()
    words = shlex.split(filled(command))
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status = shell.main(words)
        except SystemExit as end:
            status = end.code
    for handler in list(logging.getLogger().handlers):
        logging.getLogger().removeHandler(handler)
    return status in (0, None), said.getvalue().strip()


for line in sys.stdin.read().splitlines():
    if not line.strip() or line.startswith("#"):
        continue
    rest, _, pattern = line.partition(" ~ ")
    wanted = not rest.startswith("! ")
    name, _, command = re.fullmatch(r"(?:(\w+) (=) )?(.*)", rest.removeprefix("! ")).groups()
    succeeded, said = run(command)
    good = succeeded == wanted and re.search(filled(pattern), said, re.M) is not None
    if name:
        names[name] = said
    print(f"ok    {line}" if good else f"FAIL  {line}\n      " + "\n      ".join(said.splitlines()[-10:]), flush=True)
