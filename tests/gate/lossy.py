"""A road to PostgreSQL on which one COMMIT is lost, or its answer is."""

from __future__ import annotations

import select
import socket
import threading
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import parse_qs, quote, urlsplit

from pydantic import SecretStr

Loss: TypeAlias = Literal["commit", "answer"]
"""What does not arrive: the commit at the server, or its answer at us."""

COMMIT = b"COMMIT\0"


class LossyRoad:
    """A Unix socket in `folder` before the server's own. Everything passes but what `lose` names, once."""

    def __init__(self, folder: Path, url: SecretStr) -> None:
        parts = urlsplit(url.get_secret_value())
        self._there = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
        self.url = SecretStr(f"postgresql://postgres@{parts.path}?host={quote(str(folder), safe='')}")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self._loss: Loss | None = None
        self._ends_with_it = False
        self._is_closed = False
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def lose(self, what: Loss, *, for_good: bool = False) -> None:
        """Cut the connection at the next commit of a write; `for_good`, let nobody through after that."""
        self._loss, self._ends_with_it = what, for_good

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            if self._is_closed:
                ours.close()
                continue
            theirs = socket.socket(socket.AF_UNIX)
            theirs.connect(self._there)
            thread = threading.Thread(target=self._carry, args=(ours, theirs))
            self._threads.append(thread)
            thread.start()

    def _carry(self, ours: socket.socket, theirs: socket.socket) -> None:
        with ours, theirs:
            is_writing = False
            while True:
                ready, _, _ = select.select([ours, theirs], [], [])
                for end in ready:
                    said = end.recv(65536)
                    if not said:
                        return
                    if end is theirs:
                        ours.sendall(said)
                        continue
                    if b"BEGIN ISOLATION LEVEL" in said:
                        is_writing = b"READ WRITE" in said
                    if is_writing and COMMIT in said and self._loss is not None:
                        self._cut(theirs, said)
                        return
                    theirs.sendall(said)

    def _cut(self, theirs: socket.socket, said: bytes) -> None:
        loss, self._loss, self._is_closed = self._loss, None, self._ends_with_it
        if loss == "answer":
            theirs.sendall(said)
            theirs.recv(65536)
