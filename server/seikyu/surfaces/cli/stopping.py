"""A question that can be stopped: Ctrl+C, a window that is closed, a command that is told to end."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Final

ENDINGS: Final = [getattr(signal, name) for name in ("SIGHUP", "SIGINT", "SIGTERM") if hasattr(signal, name)]
"""Windows knows no hangup."""

_AGAIN_S: Final = 0.2


@contextmanager
def stopped_by_signals() -> Generator[None]:
    """Raise `KeyboardInterrupt` at the first signal that ends a command, once; the main thread's.

    A signal that comes between the prompt and the wait for a key is seen by nobody until a key is pressed, and
    nobody sits there any more. So it is sent again until it was heard.
    """
    stop = _Stop()
    former = {number: signal.signal(number, stop.hear) for number in ENDINGS}
    try:
        with _sent_again(stop.is_heard):
            try:
                yield
            except SystemError as error:  # CPython's, when a second signal comes while the terminal is given up
                if stop.is_heard.is_set():
                    raise KeyboardInterrupt from error
                raise
            finally:
                stop.is_heard.set()
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def ended_like_ctrl_c() -> Generator[None]:
    """Let a closed window, or the order to end, stop what runs inside as Ctrl+C does; the main thread's.

    Once: the shell and the kernel may both tell of a window, and a second Ctrl+C breaks off what gives tokens back.
    Inside itself, and in other threads, it changes nothing.
    """
    if threading.current_thread() is not threading.main_thread() or _LIKE_CTRL_C.is_set():
        yield
        return
    is_heard = threading.Event()

    def hear(_number: int, _frame: FrameType | None) -> None:
        if not is_heard.is_set():
            is_heard.set()
            signal.raise_signal(signal.SIGINT)

    heard = [number for number in ENDINGS if number != signal.SIGINT and signal.getsignal(number) is not signal.SIG_IGN]
    former = {number: signal.signal(number, hear) for number in heard}
    _LIKE_CTRL_C.set()
    try:
        yield
    finally:
        _LIKE_CTRL_C.clear()
        for number, handler in former.items():
            signal.signal(number, handler)


_LIKE_CTRL_C: Final = threading.Event()


class _Stop:
    def __init__(self) -> None:
        self.is_heard = threading.Event()

    def hear(self, _number: int, _frame: FrameType | None) -> None:
        if not self.is_heard.is_set():
            self.is_heard.set()
            raise KeyboardInterrupt


@contextmanager
def _sent_again(is_heard: threading.Event) -> Generator[None]:
    """Watch from another thread for signals that arrived and were not heard; see Python's `signal.set_wakeup_fd`."""
    if not hasattr(signal, "pthread_kill"):
        yield
        return
    told, told_to = socket.socketpair()
    told.setblocking(False)  # noqa: FBT003 - the library's own form
    main = threading.get_ident()

    def watch() -> None:
        while number := told_to.recv(1):
            while not is_heard.wait(_AGAIN_S):
                signal.pthread_kill(main, number[0])

    watcher = threading.Thread(target=watch, daemon=True)
    former = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(former)
        told.close()
        watcher.join()
        told_to.close()
