"""Each rule of security has a test that exists and runs; `pytest -s tests/security/test_rules.py` prints the table."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.scenarios.runs import ROOT
from tests.security.rules import RULES, S


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """FILE::FUNCTION of all tests that pytest finds in the files that are named."""
    files = sorted({test.partition("::")[0] for rule in RULES for test in rule.tests})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", *files],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return {re.sub(r"\[.*", "", line) for line in done.stdout.splitlines() if "::" in line}


def test_each_rule_names_tests_that_are_collected(collected: set[str]) -> None:
    missing = [f"{rule.number} {rule.text}: {test}" for rule in RULES for test in rule.tests if test not in collected]
    assert missing == []
    print(f"\n{table()}")


def test_each_rule_has_a_test_or_says_why_none_can_hold_it() -> None:
    assert [rule.text for rule in RULES if bool(rule.tests) == bool(rule.untested)] == []
    assert {rule.number for rule in RULES} == set("12345678")


def test_each_test_of_security_holds_a_rule(collected: set[str]) -> None:
    here = {test for test in collected if test.startswith(S)}
    assert len(here) > 30
    assert here - {test for rule in RULES for test in rule.tests} == set()


def table() -> str:
    """The rules, each with where it is held."""
    lines = []
    for rule in RULES:
        lines.append(f"§5.{rule.number}  {rule.text}")
        lines += [f"        {test}" for test in rule.tests] or [f"        no test: {rule.untested}"]
    return "\n".join(lines)
