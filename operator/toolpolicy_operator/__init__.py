"""The operator: ToolPolicies and pods in, snapshots to sidecars and the truth on the resource out.

`index`, `fleet`, `plan` and `verdict` decide and do no I/O; everything else only carries.
"""
