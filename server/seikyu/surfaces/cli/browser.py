"""The person's browser, opened when there is a display to open it on."""

from __future__ import annotations

import os
import subprocess
import sys


def open_browser(address: str) -> bool:
    """Start the browser and do not wait for it; False when there is no display.

    A browser inside the terminal would take the terminal away from us, so without a display none is started. One that
    is started writes nothing between our prompts, and sees none of our variables: they may hold the master key.
    """
    has_display = sys.platform in {"darwin", "win32"} or any(os.environ.get(name) for name in _DISPLAYS)
    if not has_display:
        return False
    theirs = {name: value for name, value in os.environ.items() if not name.startswith("SEIKYU_")}
    nowhere = subprocess.DEVNULL
    try:
        subprocess.Popen(  # noqa: S603 - Python itself, with an address of ours
            [sys.executable, "-I", "-m", "webbrowser", address],
            env=theirs,
            stdin=nowhere,
            stdout=nowhere,
            stderr=nowhere,
            start_new_session=True,
        )
    except OSError:
        return False
    return True


_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
