"""Reads what Tempest's tests said (a subunit stream) and writes a short report: failures with their first line, why tests were skipped, counts.

usage: report.py SUBUNIT REPORT     prints "PASSED FAILED" for the caller
"""
import collections
import sys

import subunit
from testtools import StreamSummary, StreamToDict, CopyStreamResult

tests = []
summary = StreamSummary()
result = CopyStreamResult([StreamToDict(tests.append), summary])
result.startTestRun()
with open(sys.argv[1], "rb") as stream:
    subunit.ByteStreamToStreamResult(stream, non_subunit_name="stdout").run(result)
result.stopTestRun()


def text(test, name):
    return next((d.as_text() for n, d in test["details"].items() if n.startswith(name)), "")


def reason(traceback):
    """The line that says what went wrong: the last one that is not indented."""
    lines = [line for line in traceback.strip().splitlines() if line and not line[0].isspace() and not line.startswith("Traceback")]
    return lines[0] if lines else "(it does not say)"


by_status = collections.defaultdict(list)
for test in tests:
    by_status[test["status"]].append(test)
skips = collections.Counter(text(test, "reason") for test in by_status["skip"])
passed = len([t for t in by_status["success"] if not t["id"].startswith("setUpClass")])
failed = by_status["fail"]

with open(sys.argv[2], "w") as report:
    for test in failed:
        print(f"FAILED   {test['id']}\n         {reason(text(test, 'traceback'))}", file=report)
    for why, times in skips.most_common():
        print(f"skipped  {times:4} {why}", file=report)
    print(f"{passed} passed, {len(failed)} failed, {sum(skips.values())} skipped", file=report)
print(passed, len(failed))
