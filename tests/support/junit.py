"""Counts the tests in JUnit reports: junit.py FILE ... prints "PASSED FAILED SKIPPED". A missing report counts nothing."""

import sys
import xml.etree.ElementTree as xml
from pathlib import Path


def count(path):
    passed = failed = skipped = 0
    if not Path(path).exists():
        return passed, failed, skipped
    for case in xml.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail":
            failed += 1
        elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


if __name__ == "__main__":
    print(*map(sum, zip(*map(count, sys.argv[1:]))))
