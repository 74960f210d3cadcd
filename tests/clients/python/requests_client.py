import asyncio

import requests


async def used(url: str, query: str) -> tuple[list[str], str, str]:
    def post(path: str, body: dict[str, str]) -> str:
        return requests.post(f"{url}/{path}", json=body, timeout=20).text

    return (
        [],
        await asyncio.to_thread(post, "search", {"query": query}),
        await asyncio.to_thread(post, "hang", {}),
    )
