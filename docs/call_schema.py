"""Prints docs/schemas/call.v1.json: the JSON Schema of a call's log line, from the code that writes it."""

import json
from typing import Any

import msgspec

from toolpolicy_sidecar.call_line import SCHEMA, CallLine

ENVELOPE = {
    "time": {"type": "string", "format": "date-time", "description": "When the call was over"},
    "level": {"enum": ["info", "warning"], "description": "warning: it failed or was refused"},
    "event": {"const": "call"},
}


def schema() -> dict[str, Any]:
    """JSON Schema 2020-12. Fields that are not there are at their default."""
    found = msgspec.json.schema(CallLine)
    definitions = found["$defs"]
    line = definitions.pop("CallLine")
    properties = ENVELOPE | line["properties"] | {"schema": {"const": SCHEMA}}
    for name, field in properties.items():
        properties[name] = {key: value for key, value in field.items() if key != "default"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://toolpolicy.dev/schemas/call.v1.json",
        "title": "toolpolicy: the record of a call",
        "description": "A log line. The attributes of an OTLP log record are the same without the first three.",
        "type": "object",
        "properties": properties,
        "required": [*ENVELOPE, *line["required"]],
        "$defs": definitions,
    }


def page() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(page(), end="")
