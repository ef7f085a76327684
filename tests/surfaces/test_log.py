"""What our log says, and what it leaves out."""

from __future__ import annotations

import logging
import os

from starlette.requests import ClientDisconnect

from seikyu.surfaces.log import PatientLog, is_news


def test_a_client_that_hangs_up_leaves_no_traceback_and_a_fault_of_ours_does() -> None:
    source, sink = os.pipe()
    handler = PatientLog(sink)
    handler.addFilter(is_news)
    for error in (ClientDisconnect(), ValueError("ours")):
        told = (type(error), error, None)
        handler.handle(logging.LogRecord("sdk", logging.ERROR, "", 0, "Error handling POST request", None, told))
    handler.flush()
    os.close(sink)

    with os.fdopen(source, encoding="utf-8") as said:
        lines = said.read().splitlines()
    assert [line for line in lines if "Error" in line] == ["Error handling POST request", "ValueError: ours"]
