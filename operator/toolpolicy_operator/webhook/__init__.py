"""Admission: `inject` adds the sidecar to pods, `validate` refuses policies that would not be enforced."""
