"""Why a call was refused, failed, or passed on with a remark: one vocabulary for the problem `reason`,
MCP `_meta`, metric labels, log lines and status.
"""

from enum import StrEnum
from typing import Literal, NamedTuple

CallOutcome = Literal["success", "failure", "refused", "neutral"]
"""`neutral` says nothing about the tool's health."""
FAILED = frozenset[CallOutcome](("failure", "refused"))
"""What a user calls an error."""


class Reason(StrEnum):
    # Refused: the tool's server never saw the call.
    UnknownServer = "UnknownServer"
    MethodNotListed = "MethodNotListed"
    ToolDisabled = "ToolDisabled"
    CircuitOpen = "CircuitOpen"
    Throttled = "Throttled"
    ConcurrencyLimit = "ConcurrencyLimit"
    QueueTimeout = "QueueTimeout"
    NoPolicy = "NoPolicy"
    EgressDenied = "EgressDenied"
    MalformedRequest = "MalformedRequest"
    BatchRefused = "BatchRefused"
    HeaderMismatch = "HeaderMismatch"
    BodyTooLarge = "BodyTooLarge"
    HeaderTooLarge = "HeaderTooLarge"
    UnsupportedEncoding = "UnsupportedEncoding"
    UpgradeRefused = "UpgradeRefused"
    RequestUnscannable = "RequestUnscannable"
    RequestUnparsable = "RequestUnparsable"
    RequestTooDeep = "RequestTooDeep"
    RequestTooCostly = "RequestTooCostly"
    RequestBlocked = "RequestBlocked"
    RequestTimeout = "RequestTimeout"
    Draining = "Draining"
    # Failed: the call was tried and there is no answer to pass on.
    NameNotResolved = "NameNotResolved"
    ConnectRefused = "ConnectRefused"
    TlsFailed = "TlsFailed"
    ConnectTimeout = "ConnectTimeout"
    AttemptTimeout = "AttemptTimeout"
    TotalTimeout = "TotalTimeout"
    IdleTimeout = "IdleTimeout"
    ConnectionReset = "ConnectionReset"
    IncompleteAnswer = "IncompleteAnswer"
    MalformedAnswer = "MalformedAnswer"
    AnswerTooLarge = "AnswerTooLarge"
    AnswerUnscannable = "AnswerUnscannable"
    AnswerEncodingUnsupported = "AnswerEncodingUnsupported"
    AnswerUnparsable = "AnswerUnparsable"
    AnswerTooDeep = "AnswerTooDeep"
    AnswerTooCostly = "AnswerTooCostly"
    AnswerBlocked = "AnswerBlocked"
    InternalError = "InternalError"
    # Passed on: the agent has the tool's own answer.
    ServerError = "ServerError"
    ClientError = "ClientError"
    ToolError = "ToolError"
    ClientGone = "ClientGone"


class Would(StrEnum):
    """What else mode Shadow notes of a call, besides the Reason that Enforce would have answered with."""

    Retry = "Retry"
    """Enforce would have tried again; nobody knows what would have come of it."""
    Hedge = "Hedge"
    """A second attempt would have been made beside this one, which was late."""
    Fallback = "Fallback"
    """The tool has a fallback for this."""
    Queue = "Queue"
    """It would have waited for a slot."""
    Redact = "Redact"
    """Something would have been taken out of it."""
    Undecided = "Undecided"
    """The answer is in an encoding that Enforce would not have asked for, and could not be looked at."""


class Meaning(NamedTuple):
    """`status` is what an HTTP caller gets when the answer is ours; `title` is RFC 9457's."""

    kind: Literal["refused", "failed", "passed"]
    status: int
    title: str


MEANINGS: dict[Reason, Meaning] = {
    Reason.UnknownServer: Meaning("refused", 404, "Unknown server"),
    Reason.MethodNotListed: Meaning("refused", 405, "Method not listed"),
    Reason.ToolDisabled: Meaning("refused", 503, "Tool disabled"),
    Reason.CircuitOpen: Meaning("refused", 503, "Circuit open"),
    Reason.Throttled: Meaning("refused", 429, "Throttled"),
    Reason.ConcurrencyLimit: Meaning("refused", 429, "Concurrency limit"),
    Reason.QueueTimeout: Meaning("refused", 429, "Queue timeout"),
    Reason.NoPolicy: Meaning("refused", 503, "No policy"),
    Reason.EgressDenied: Meaning("refused", 403, "Egress denied"),
    Reason.MalformedRequest: Meaning("refused", 400, "Malformed request"),
    Reason.BatchRefused: Meaning("refused", 400, "Batch refused"),
    Reason.HeaderMismatch: Meaning("refused", 400, "Header mismatch"),
    Reason.BodyTooLarge: Meaning("refused", 413, "Body too large"),
    Reason.HeaderTooLarge: Meaning("refused", 431, "Header too large"),
    Reason.UnsupportedEncoding: Meaning("refused", 415, "Unsupported encoding"),
    Reason.UpgradeRefused: Meaning("refused", 403, "Upgrade refused"),
    Reason.RequestUnscannable: Meaning("refused", 422, "Request cannot be scanned"),
    Reason.RequestUnparsable: Meaning("refused", 422, "Request cannot be parsed"),
    Reason.RequestTooDeep: Meaning("refused", 422, "Request nested too deep"),
    Reason.RequestTooCostly: Meaning("refused", 422, "Request takes too long to scan"),
    Reason.RequestBlocked: Meaning("refused", 403, "Request blocked"),
    Reason.RequestTimeout: Meaning("refused", 408, "Request timeout"),
    Reason.Draining: Meaning("refused", 503, "Shutting down"),
    Reason.NameNotResolved: Meaning("failed", 502, "Name not resolved"),
    Reason.ConnectRefused: Meaning("failed", 502, "Connection refused"),
    Reason.TlsFailed: Meaning("failed", 502, "TLS failed"),
    Reason.ConnectTimeout: Meaning("failed", 504, "Connect timeout"),
    Reason.AttemptTimeout: Meaning("failed", 504, "Attempt timeout"),
    Reason.TotalTimeout: Meaning("failed", 504, "Total timeout"),
    Reason.IdleTimeout: Meaning("failed", 504, "Idle timeout"),
    Reason.ConnectionReset: Meaning("failed", 502, "Connection reset"),
    Reason.IncompleteAnswer: Meaning("failed", 502, "Incomplete answer"),
    Reason.MalformedAnswer: Meaning("failed", 502, "Malformed answer"),
    Reason.AnswerTooLarge: Meaning("failed", 502, "Answer too large"),
    Reason.AnswerUnscannable: Meaning("failed", 502, "Answer cannot be scanned"),
    Reason.AnswerEncodingUnsupported: Meaning("failed", 502, "Answer in an unsupported encoding"),
    Reason.AnswerUnparsable: Meaning("failed", 502, "Answer cannot be parsed"),
    Reason.AnswerTooDeep: Meaning("failed", 502, "Answer nested too deep"),
    Reason.AnswerTooCostly: Meaning("failed", 502, "Answer takes too long to scan"),
    Reason.AnswerBlocked: Meaning("failed", 502, "Answer blocked"),
    Reason.InternalError: Meaning("failed", 500, "Internal error"),
    Reason.ServerError: Meaning("passed", 502, "Server error"),
    Reason.ClientError: Meaning("passed", 400, "Client error"),
    Reason.ToolError: Meaning("passed", 200, "Tool error"),
    Reason.ClientGone: Meaning("passed", 499, "Client gone"),
}
