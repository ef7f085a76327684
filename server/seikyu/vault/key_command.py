"""The master key from a program of the operator's: a key service, a password manager."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import SecretStr

from seikyu.errors import ConfigurationError, Text
from seikyu.models import shown
from seikyu.settings import KeyPlaceName
from seikyu.vault.rings import MOST_BYTES, KeyRing, no_key, ring_of

VARIABLE: Final = "SEIKYU_MASTER_KEY_COMMAND"
LIMIT_S: Final = 20
"""The longest it may run: a call to a key service, or a finger on a sensor."""
LOOK_S: Final = 0.05
_OURS: Final = ("SEIKYU_", "PGPASS")
"""How the variables begin that it does not see: our secrets, and PostgreSQL's. Its own login it needs."""


class KeyCommand:
    """What `SEIKYU_MASTER_KEY_COMMAND` prints: one key a line, the one that seals first.

    It gets no shell, no terminal, no input and none of our secrets. What it says on stderr is thrown away: nobody
    knows what is in it. One that takes too long is killed, with all it started.
    """

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str] = os.environ, *, limit_s: int = LIMIT_S
    ) -> None:
        self.kind: KeyPlaceName = "command"
        self._command = tuple(command)
        self._environ = {name: value for name, value in environ.items() if not name.startswith(_OURS)}
        self._limit_s = limit_s

    @property
    def place(self) -> Text:
        """By the name of the program: its arguments may be nobody's business."""
        if not self._command:
            return Text(VARIABLE, VARIABLE)
        name = shown(os.path.basename(self._command[0]), 60)  # noqa: PTH119 - a name, not a path
        return Text(f"{VARIABLE}（{name}）", f"{VARIABLE} ({name})")

    @property
    def is_given(self) -> bool:
        return bool(self._command)

    def read(self) -> KeyRing | None:
        """The keys it printed; None when no program is named. Blocks as long as it runs.

        Raises:
            ConfigurationError: it cannot be started, took too long, failed, or printed no key.
        """
        if not self._command:
            return None
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator's own program, and no shell
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environ,
                start_new_session=True,
            )
        except OSError as error:
            raise self._failed(
                Text(f"起動できません（{error.strerror}）", f"cannot be started: {error.strerror}")
            ) from error
        try:
            text = self._printed(process)
        finally:
            _end(process)
        return ring_of(text, self.place)

    def _printed(self, process: subprocess.Popen[bytes]) -> SecretStr:
        until = time.monotonic() + self._limit_s
        text = SecretStr(_all_of(process, until).decode("ascii", "replace"))
        if len(text) > MOST_BYTES:
            raise no_key(self.place)
        try:
            code = process.wait(max(0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise self._failed(
                Text(f"{self._limit_s}秒で終わりません", f"did not end within {self._limit_s} s")
            ) from None
        if code != 0:
            raise self._failed(Text(f"終了コード {code}", f"exit code {code}"))
        if not text.get_secret_value().strip():
            raise self._failed(Text("何も出力しません", "printed nothing"))
        return text

    def _failed(self, why: Text) -> ConfigurationError:
        return ConfigurationError(
            Text(f"{self.place.ja} から鍵を読めません: {why.ja}。", f"{self.place.en} gave no key: {why.en}."),
            Text(
                "サーバーの利用者としてこのコマンドを実行し、鍵だけを出力するか確かめてください。",
                "Run the command yourself as the server's user, and see that it prints the key alone.",
            ),
        )


def _all_of(process: subprocess.Popen[bytes], until: float) -> bytes:
    """What it prints until it ends, the time is over, or it is more than all keys take.

    An agent that it started and leaves behind may hold the pipe for ever: that is not waited for.
    """
    found = bytearray()
    with selectors.DefaultSelector() as selector:
        if process.stdout is None:
            return b""
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(found) <= MOST_BYTES and (left := until - time.monotonic()) > 0:
            has_ended = process.poll() is not None  # asked first: what it printed is in the pipe by then
            if not selector.select(0 if has_ended else min(left, LOOK_S)):
                if has_ended:
                    break
                continue
            chunk = os.read(process.stdout.fileno(), MOST_BYTES)
            if not chunk:
                break
            found += chunk
    return bytes(found[: MOST_BYTES + 1])


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing behind of one that still runs. What one that ended has started, such as an agent, is its own."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
