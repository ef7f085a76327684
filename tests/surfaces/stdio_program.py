"""`python -m surfaces.stdio_program`: the fake pipeline on stdin and stdout, as a client would start it."""

import anyio

from seikyu.surfaces.mcp.stdio import serve_stdio
from surfaces.fakes import FakePipeline, build

if __name__ == "__main__":
    anyio.run(serve_stdio, build(FakePipeline()))
