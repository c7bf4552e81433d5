"""aiohttp's client on asyncio, which streams a download."""

from __future__ import annotations

import asyncio

import aiohttp
from transfer import Transfer


async def main(transfer: Transfer) -> None:
    async with aiohttp.ClientSession() as session:

        async def download() -> int:
            received = 0
            async with session.get(transfer.url) as response:
                async for piece in response.content.iter_any():
                    received += len(piece)
            return received

        await transfer.measure(download)


if __name__ == "__main__":
    asyncio.run(main(Transfer.from_arguments()))
