"""curl reads `http_proxy` in lower case only."""

import asyncio
import json


async def used(url: str, query: str) -> tuple[list[str], str, str]:
    async def post(path: str, body: str) -> str:
        command = ["curl", "-sS", "-m", "20", "--json", body, f"{url}/{path}"]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        return (await process.communicate())[0].decode()

    return [], await post("search", json.dumps({"query": query})), await post("hang", "{}")
