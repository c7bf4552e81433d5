"""httpx on trio, which streams a download."""

from __future__ import annotations

import httpx
import trio
from transfer import Transfer


async def main(transfer: Transfer) -> None:
    async with httpx.AsyncClient() as client:

        async def download() -> int:
            received = 0
            async with client.stream("GET", transfer.url) as response:
                async for piece in response.aiter_bytes():
                    received += len(piece)
            return received

        await transfer.measure(download)


if __name__ == "__main__":
    trio.run(main, Transfer.from_arguments())
