"""The API of toolpolicy: the ToolPolicy models, their CRD, snapshots and the control channel's messages.

Nothing in this package does I/O. `policy`, `status` and `crd` use pydantic; `snapshot` and `channel` only
msgspec, so that a sidecar never pays for pydantic.
"""
