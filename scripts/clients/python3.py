#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tasks of one event loop, as in README.md."""
import asyncio
import sys


async def exited(pid):
    with open(f"/proc/{pid}/exithand") as file:  # noqa: ASYNC230
        done, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_reader(file, done.set)
        try:
            await done.wait()
        finally:
            loop.remove_reader(file)


async def main(pids):
    await asyncio.gather(*map(exited, pids))
    print(f"{len(pids)} exits")

asyncio.run(main(sys.argv[1:]))
