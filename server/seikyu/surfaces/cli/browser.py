"""The person's browser, opened when there is a display to open it on."""

from __future__ import annotations

import os
import sys
import threading


def open_browser(address: str) -> bool:
    """Start the browser and do not wait for it; False when there is no display.

    A browser inside the terminal would take the terminal away from us, so without a display none is started.
    """
    has_display = sys.platform in {"darwin", "win32"} or any(os.environ.get(name) for name in _DISPLAYS)
    if has_display:
        import webbrowser

        # some browsers return only when they are closed
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    return has_display


_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
