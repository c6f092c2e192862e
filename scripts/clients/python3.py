#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tasks of one event loop, as in README.md."""
import asyncio
import sys


async def exited(path):
    with open(path) as file:  # noqa: ASYNC230
        done, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_reader(file, done.set)
        try:
            await done.wait()
        finally:
            loop.remove_reader(file)


async def main(paths):
    await asyncio.gather(*map(exited, paths))
    print(f"{len(paths)} exits")

asyncio.run(main(sys.argv[1:]))
