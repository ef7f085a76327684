from __future__ import annotations

import json
import os
import subprocess
import sys

from faults.catalogue import CATALOGUE, NOT_YET, TESTS, proofs


def test_every_fault_of_the_catalogue_has_a_test_or_says_why_not() -> None:
    proved = {proof.number for proof in proofs()}

    assert [fault.number for fault in CATALOGUE if fault.number not in proved] == list(NOT_YET)
    assert all(NOT_YET.values())


def test_no_test_carries_a_number_that_is_not_in_the_catalogue() -> None:
    known = {fault.number for fault in CATALOGUE}

    assert [proof for proof in proofs() if proof.number not in known] == []


def test_the_catalogue_has_64_faults_that_differ() -> None:
    assert [fault.number for fault in CATALOGUE] == [f"F{place:02}" for place in range(1, 65)]
    assert len({fault.what for fault in CATALOGUE}) == 64


def test_the_report_runs_the_tests_of_a_fault_and_says_how_they_went() -> None:
    path = os.pathsep.join([str(TESTS), *sys.path])
    command = [sys.executable, "-m", "faults.report", "--json", "F45"]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=100, check=True
    )
    [told] = json.loads(done.stdout)["faults"]
    ours = {proof.test for proof in proofs() if proof.number == "F45"}

    assert (told["fault"], told["result"]) == ("F45", "passed")
    assert {name.rpartition("::")[2].partition("[")[0] for name in told["tests"]} == ours


def test_a_number_that_is_no_faults_is_refused_and_not_left_out() -> None:
    path = os.pathsep.join([str(TESTS), *sys.path])
    command = [sys.executable, "-m", "faults.report", "F45", "f45", "F65"]
    refused = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=100, check=False
    )

    assert (refused.returncode, refused.stdout) == (2, "")
    assert "no fault is called F65, f45; they are F01 to F64" in refused.stderr
