import httpx


async def used(url: str, query: str) -> tuple[list[str], str, str]:
    async with httpx.AsyncClient(timeout=20) as client:
        found = await client.post(f"{url}/search", json={"query": query})
        hung = await client.post(f"{url}/hang")
    return [], found.text, hung.text
