"""It reads the proxy from the environment only when it is told to."""

import aiohttp


async def used(url: str, query: str) -> tuple[list[str], str, str]:
    async with aiohttp.ClientSession(trust_env=True, timeout=aiohttp.ClientTimeout(20)) as session:
        async with session.post(f"{url}/search", json={"query": query}) as found:
            text = await found.text()
        async with session.post(f"{url}/hang") as hung:
            return [], text, await hung.text()
