"""Uploads a document as one process of its own, and prints by how much that process grew at most, in KiB."""

import hashlib
import json
import re
import sys
from pathlib import Path

import anyio

from seikyu.providers.http import HttpAnswer, HttpEdge, body_with_document
from seikyu.spec import FileDigest


async def _fence() -> None:
    pass


async def _upload(http: HttpEdge, url: str, path: Path) -> object:
    content = path.open("rb")
    digest = FileDigest(
        name=path.name,
        size=content.seek(0, 2),
        sha256=_sha256(path),
        field="e_storage.file_content",
    )
    body = body_with_document({"e_storage": {"file_name": path.name}}, digest, content)
    answer = await http.write("POST", url, headers={}, body=body, fence=_fence)
    content.close()
    return answer.json if isinstance(answer, HttpAnswer) else repr(answer)


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


async def _main(url: str, small: Path, large: Path) -> None:
    http = HttpEdge()
    await _upload(http, url, small)  # so that imports and threads do not count
    before = _peak_kib()
    answer = await _upload(http, url, large)
    sys.stdout.write(json.dumps({"grown_kib": _peak_kib() - before, "answer": answer}))


def _peak_kib() -> int:
    """Peak resident size of this process. `ru_maxrss` would include the process we were forked from."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


if __name__ == "__main__":
    anyio.run(_main, sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
