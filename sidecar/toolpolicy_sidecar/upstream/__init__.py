"""A lean HTTP/1.1 client: a pool of connections on `asyncio.Protocol` and httptools' C parser."""
