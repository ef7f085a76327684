import asyncio
import socket
import time

import pytest

from seikyu.vault.deadlines import cut_off_after


async def test_what_takes_too_long_is_cut_off_and_the_work_goes_on_behind_the_block() -> None:
    begun = time.monotonic()
    with cut_off_after(1):
        await asyncio.sleep(30)
        pytest.fail("it was not cut off")

    assert 0.9 < time.monotonic() - begun < 10


async def test_what_is_done_in_time_is_not_cut_off_later() -> None:
    with cut_off_after(1):
        await asyncio.sleep(0)

    assert await asyncio.sleep(1.2, "not cut off") == "not cut off"


async def test_after_standing_still_past_the_deadline_an_answer_that_lies_in_the_socket_is_read() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    answer = b""
    with theirs:
        with cut_off_after(1):
            reading = asyncio.ensure_future(reader.read(100))
            await asyncio.sleep(0)
            theirs.sendall(b"tokens")
            time.sleep(1.5)  # noqa: ASYNC251 - the whole process stands still
            answer = await reading
        writer.close()

    assert answer == b"tokens"
