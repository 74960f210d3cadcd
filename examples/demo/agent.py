"""An agent without a model: calls tools with the real MCP client, prints what came back, one JSON a line.

    agent.py call TOOL '{"json": "arguments"}' [--times N] [--pause SECONDS]
    agent.py loop                                  the tools in turn, for ever

It knows nothing of toolpolicy: its tools' address stands in TOOLPOLICY_KB_URL, put there by the injector.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from typing import Any

from mcp import Client

PATIENCE_S = 60.0
ROUND = [
    ("search_knowledge_base", {"query": "invoices"}),
    ("recommend_article", {"topic": "invoices"}),
    ("lookup_customer", {"ticket": "TCK-123456"}),
]


async def call(client: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """One call as the model would see it: `error` true means the text tells what went wrong."""
    started = time.perf_counter()
    try:
        result = await client.call_tool(tool, arguments)
        error, text = bool(result.is_error), " ".join(getattr(item, "text", "") for item in result.content)
    except Exception as failure:  # noqa: BLE001 -- whatever the SDK raises is what an agent would have to survive
        error, text = True, f"{type(failure).__name__}: {failure}"
    return {
        "tool": tool,
        "error": error,
        "ms": round((time.perf_counter() - started) * 1000, 1),
        "text": text,
    }


def say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


async def some(tool: str, arguments: dict[str, Any], times: int, pause_s: float) -> None:
    async with Client(os.environ["TOOLPOLICY_KB_URL"], read_timeout_seconds=PATIENCE_S) as client:
        for turn in range(times):
            if turn:
                await asyncio.sleep(pause_s)
            say(await call(client, tool, arguments))


async def loop() -> None:
    while True:
        try:
            async with Client(os.environ["TOOLPOLICY_KB_URL"], read_timeout_seconds=PATIENCE_S) as client:
                while True:
                    for tool, arguments in ROUND:
                        say(await call(client, tool, arguments))
                        await asyncio.sleep(0.5)
        except Exception as failure:  # noqa: BLE001 -- an agent goes on
            print(f"no session: {failure!r}", file=sys.stderr, flush=True)
            await asyncio.sleep(1.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("loop")
    one = verbs.add_parser("call")
    one.add_argument("tool")
    one.add_argument("arguments", type=json.loads)
    one.add_argument("--times", type=int, default=1)
    one.add_argument("--pause", type=float, default=0.0, metavar="SECONDS")
    options = parser.parse_args()
    if options.verb == "loop":
        asyncio.run(loop())
    else:
        asyncio.run(some(options.tool, options.arguments, options.times, options.pause))


if __name__ == "__main__":
    main()
