"""JSON log lines on standard output, for people and machines."""

import logging
import sys

from toolpolicy_api.json_lines import JsonLines


def configure(level: str) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines(logger=True))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("kopf", "urllib3", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # It warns that it takes no signals in a thread, which is what we want of it.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
