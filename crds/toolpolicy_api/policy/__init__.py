"""ToolPolicy `toolpolicy.dev/v1alpha1`: what a user may write, one module for each section of it.

The CRD is generated from these models (`crd.py`). What cannot be enforced is no field here: nothing is accepted and
silently not enforced.
"""

from toolpolicy_api.policy.circuit_breaker import CircuitBreaker, FailureRate, Percent, SlowCall
from toolpolicy_api.policy.concurrency import Adaptive, Concurrency
from toolpolicy_api.policy.egress import Egress
from toolpolicy_api.policy.fallback import ArgumentName, CachedFallback, Fallback, ToolFallback
from toolpolicy_api.policy.model import (
    API_VERSION,
    GROUP,
    KIND,
    PLURAL,
    VERSION,
    Duration,
    Model,
    Name,
    ToolName,
    cel,
    list_map,
)
from toolpolicy_api.policy.redaction import (
    Allowed,
    Detector,
    FieldRule,
    Pattern,
    Redaction,
    Tokens,
    ToolRedaction,
)
from toolpolicy_api.policy.retry import Backoff, Hedge, Retry
from toolpolicy_api.policy.selector import LabelRequirement, LabelValue, Selector
from toolpolicy_api.policy.server import ClientCertificate, Server, ServerTls, Stdio
from toolpolicy_api.policy.slo import LATENCY_TARGETS, SLO_TOOLS, Slo, SloLatency
from toolpolicy_api.policy.spec import Metadata, Spec, ToolPolicy
from toolpolicy_api.policy.timeout import Timeout
from toolpolicy_api.policy.tool import Match, Rules, Tool

__all__ = [
    "API_VERSION",
    "GROUP",
    "KIND",
    "LATENCY_TARGETS",
    "PLURAL",
    "SLO_TOOLS",
    "VERSION",
    "Adaptive",
    "Allowed",
    "ArgumentName",
    "Backoff",
    "CachedFallback",
    "CircuitBreaker",
    "ClientCertificate",
    "Concurrency",
    "Detector",
    "Duration",
    "Egress",
    "FailureRate",
    "Fallback",
    "FieldRule",
    "Hedge",
    "LabelRequirement",
    "LabelValue",
    "Match",
    "Metadata",
    "Model",
    "Name",
    "Pattern",
    "Percent",
    "Redaction",
    "Retry",
    "Rules",
    "Selector",
    "Server",
    "ServerTls",
    "Slo",
    "SloLatency",
    "SlowCall",
    "Spec",
    "Stdio",
    "Timeout",
    "Tokens",
    "Tool",
    "ToolFallback",
    "ToolName",
    "ToolPolicy",
    "ToolRedaction",
    "cel",
    "list_map",
]
