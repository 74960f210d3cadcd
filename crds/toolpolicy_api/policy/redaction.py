"""`spec.redaction`, and what a tool has of its own."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from toolpolicy_api.headers import FRAMING, MCP_PREFIX
from toolpolicy_api.policy.model import Duration, Model, Name, ToolName, cel, list_map

Detector = Literal[
    "Secrets",
    "PII",
    "Financial",
    "Email",
    "CreditCard",
    "IBAN",
    "SSN",
    "Phone",
    "IPAddress",
    "JWT",
    "PrivateKey",
]


class Pattern(Model):
    """A text of your own that must not pass."""

    name: Annotated[Name, Field(description="Names the pattern in metrics and logs.")]
    regex: Annotated[
        str, Field(description="RE2 syntax: no backreferences, no lookahead.", min_length=1, max_length=2048)
    ]
    replace: Annotated[
        str | None,
        Field(description="What stands in its place, literally. Default: as action says.", max_length=256),
    ] = None


class Allowed(Model):
    """What is no secret although it looks like one: a test card, the company's own addresses."""

    model_config = ConfigDict(
        json_schema_extra=cel(("has(self.text) != has(self.regex)", "set one of text and regex"))
    )

    text: Annotated[
        str | None,
        Field(
            description="The whole of what is hit. Numbers are the same with other separators.",
            min_length=1,
            max_length=256,
        ),
    ] = None
    regex: Annotated[
        str | None,
        Field(description="RE2, for the whole of what is hit.", min_length=1, max_length=2048),
    ] = None


class FieldRule(Model):
    """A value in the arguments and in the results of tools."""

    path: Annotated[
        str,
        Field(
            description="JSONPath (RFC 9535): names, indices, * and ..; no slices or filters.",
            min_length=1,
            max_length=512,
        ),
    ]
    action: Literal["Mask", "Hash", "Drop", "Block"]


HeaderName = Annotated[
    str,
    Field(
        pattern=r"^(\*|[A-Za-z0-9_-]+)$",
        min_length=1,
        max_length=64,
        json_schema_extra=cel(
            (
                f"!(self.lowerAscii() in {list(FRAMING)}) && !self.lowerAscii().startsWith('{MCP_PREFIX}')",
                "the message or the protocol is read by this header; remove it",
            )
        ),
    ),
]
Headers = Annotated[
    list[HeaderName],
    Field(
        description="Headers of requests and answers that are looked at, too, such as Location. * is all but"
        " Authorization, Cookie and Set-Cookie. Default none.",
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    ),
]


class Tokens(Model):
    """Of the action Tokenize: which tools get the values for which the tokens stand."""

    trusted_tools: Annotated[
        list[ToolName],
        Field(
            description="Tools of spec.tools that are called with the values.",
            max_length=256,
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = []
    session_header: Annotated[
        str | None,
        Field(
            description="The request header that says which conversation a call belongs to. Default: all calls of a pod"
            " are one.",
            pattern=r"^[A-Za-z0-9-]+$",
            min_length=1,
            max_length=64,
        ),
    ] = None
    keep_for: Annotated[
        Duration | None, Field(description="How long after it was last made a token has a value. Default 1h.")
    ] = None


class Preview(Model):
    """What stricter redaction would find in a sample of calls, after the redaction in force. Only counts come of it."""

    percent: Annotated[int, Field(description="Of calls that are looked at, at random.", ge=1, le=100)]
    detectors: Annotated[
        list[Detector],
        Field(
            description="Default all groups.",
            min_length=1,
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ["Secrets", "PII", "Financial"]
    min_confidence: Annotated[Literal["Low", "Medium", "High"], Field(description="Default Low.")] = "Low"


class Redaction(Model):
    """What must not reach the tool, and what must not reach the model."""

    detectors: Annotated[
        list[Detector],
        Field(
            description="Groups (Secrets, PII, Financial) and single detectors.",
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = []
    min_confidence: Annotated[
        Literal["Low", "Medium", "High"],
        Field(description="Leaves out detectors that are less sure. Default Medium."),
    ] = "Medium"
    patterns: Annotated[list[Pattern], Field(max_length=64, json_schema_extra=list_map("name"))] = []
    fields: Annotated[
        list[FieldRule], Field(description="Values by their place, whatever is in them.", max_length=64)
    ] = []
    headers: Headers = []
    allow: Annotated[
        list[Allowed], Field(description="What is never redacted for being found.", max_length=64)
    ] = []
    exempt: Annotated[
        list[ToolName],
        Field(
            description="Tools of spec.tools that are not redacted.",
            max_length=256,
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = []
    apply: Annotated[
        Literal["Request", "Response", "Both"], Field(description="Which way. Default Both.")
    ] = "Both"
    action: Annotated[
        Literal["Mask", "Hash", "Tokenize", "Drop", "Block"],
        Field(
            description="Mask puts the detector's name in its place, Hash also a code that is the same for the same"
            " value, Tokenize one that is put back for trusted tools, Drop nothing. Block lets the call not pass."
            " Default Mask."
        ),
    ] = "Mask"
    on_unscannable: Annotated[
        Literal["Refuse", "Pass"],
        Field(description="What to do with a body that cannot be read: unknown encoding, malformed, binary."),
    ] = "Refuse"
    tokens: Annotated[Tokens | None, Field(description="Of the action Tokenize.")] = None
    preview: Annotated[
        Preview | None,
        Field(
            description="Counts in status.redaction.wouldFind what stricter redaction would find. Default off."
        ),
    ] = None


class ToolRedaction(Model):
    """What is set here stands in the place of the policy's redaction, field by field."""

    detectors: Annotated[
        list[Detector] | None, Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = None
    min_confidence: Literal["Low", "Medium", "High"] | None = None
    patterns: Annotated[list[Pattern] | None, Field(max_length=64, json_schema_extra=list_map("name"))] = None
    fields: Annotated[list[FieldRule] | None, Field(max_length=64)] = None
    headers: Headers | None = None
    allow: Annotated[list[Allowed] | None, Field(max_length=64)] = None
    apply: Literal["Request", "Response", "Both"] | None = None
    action: Literal["Mask", "Hash", "Tokenize", "Drop", "Block"] | None = None
    on_unscannable: Literal["Refuse", "Pass"] | None = None
