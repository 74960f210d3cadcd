"""Is this ToolPolicy one that every part of toolpolicy will enforce as written?

`check` says everything that the CRD's schema and CEL rules say, and what they cannot: patterns that do
not compile, timeouts that contradict the defaults, tools that can never match. The validating webhook,
the operator, `toolpolicy validate` and the sidecar's standalone mode all ask here.
"""

from toolpolicy_api.check.document import check, parse
from toolpolicy_api.check.finding import Finding, Invalid, schema_finding

__all__ = ["Finding", "Invalid", "check", "parse", "schema_finding"]
