"""`pytest -p canary.plugin --canary=FOLDER`: watch the run, and fail it when a secret could be read anywhere.

The folder must not exist; it is left behind with everything in it, and holds every secret the tests made up.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from pydantic import SecretStr

from canary import diary
from canary.allowed import is_allowed
from canary.scan import FILES, Hit, hits, secrets_of
from postgres import Postgres

HOOK: Final = Path(__file__).parent / "hook"
_SHOWN_HITS: Final = 40


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--canary", metavar="FOLDER", help="watch what every process shows, in this new folder")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    given = config.getoption("--canary")
    if not given:
        return
    folder, is_worker = Path(given).resolve(), hasattr(config, "workerinput")
    if not is_worker:
        _begin(folder)
        config.option.basetemp = str(folder / FILES)
    if config.getini("tmp_path_retention_policy") != "all":
        raise pytest.UsageError("--canary looks at every test's files: add -o tmp_path_retention_policy=all")
    watch = Watch(diary.begun(folder), folder, is_worker=is_worker)
    config.pluginmanager.register(watch)


def _begin(folder: Path) -> None:
    for part in (diary.SECRETS, diary.SHOWN):
        (folder / part).mkdir(parents=True, mode=0o700)
    paths = [str(HOOK), str(HOOK.parent.parent), os.environ.get("PYTHONPATH", "")]
    os.environ[diary.VARIABLE] = str(folder)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))


class Watch:
    """What the plugin does once a folder is given."""

    def __init__(self, own: diary.Diary, folder: Path, *, is_worker: bool) -> None:
        self._diary = own
        self._folder = folder
        self._is_worker = is_worker
        self._found: list[Hit] = []
        self._secrets = 0
        _read_before_emptying(own)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The output and the log of every test, of those that pass too."""
        if not self._is_worker:
            for heading, text in report.sections:
                self._diary.shown("captured", f"== {report.nodeid} {heading}\n{text}\n")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._is_worker:
            return
        self._secrets = len(secrets_of(self._folder))
        self._found = [hit for hit in hits(self._folder) if not is_allowed(hit, self._folder)]
        if self._found or not self._secrets:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._is_worker:
            return
        terminalreporter.write_line(f"{self._secrets} secrets looked for, {len(self._found)} found")
        for hit in self._found[:_SHOWN_HITS]:
            terminalreporter.write_line(f"  {hit.place}: {hit.form} of {hit.secret!r}")


def _read_before_emptying(own: diary.Diary) -> None:
    """PostgreSQL's files are gone when the run ends: note what each database holds before it is emptied."""
    empty = Postgres.empty

    def noted(self: Postgres, url: SecretStr) -> None:
        with psycopg.connect(url.get_secret_value(), autocommit=True) as connection:
            named = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            for (table,) in named:
                with connection.cursor().copy(f'COPY "{table}" TO STDOUT'.encode()) as copy:
                    for part in copy:
                        own.shown("rows", bytes(part))
        empty(self, url)

    Postgres.empty = noted  # type: ignore[method-assign]
