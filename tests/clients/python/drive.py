"""`drive.py CLIENT QUERY URL…`: what an agent written with that client does with each url, a line of JSON each.

A client is a module beside this one whose `used(url, query)` lists the tools of an MCP server, calls `search` with the
query, then `hang`, and returns the names and the two texts that a model would read; a client of plain HTTP posts to
`/search` and `/hang` instead, and has no names."""

import asyncio
import importlib
import json
import sys

if __name__ == "__main__":
    name, query, *urls = sys.argv[1:]
    client = importlib.import_module(name)
    for url in urls:
        tools, found, hung = asyncio.run(client.used(url, query))
        print(json.dumps({"tools": tools, "search": found, "hang": hung}), flush=True)
