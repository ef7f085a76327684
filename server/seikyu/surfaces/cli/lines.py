"""Text cut into lines that fit, as Japanese is cut: anywhere between its letters, but never before a closing mark."""

from __future__ import annotations

import re
from typing import Final

_CLOSING: Final = "、。，．）」』】：；？！ー…々"
_PIECES: Final = re.compile(rf"(?:[!-~]+|\S)[{_CLOSING}]*|\s+")
"""A word of ASCII or one letter, with the marks that close it; or a blank."""


def lines(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` columns; a word that is longer is cut."""
    from rich.cells import cell_len, chop_cells

    found = [""]
    for piece in (part for whole in _PIECES.findall(text) for part in chop_cells(whole, width)):
        if cell_len(found[-1] + piece.rstrip()) <= width:
            found[-1] += piece
        else:
            found.append(piece.lstrip())
    return [line.rstrip() for line in found if line.strip()]
