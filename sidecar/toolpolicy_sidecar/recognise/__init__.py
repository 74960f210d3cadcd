"""Bytes in, a frozen `ToolCall` out, one module per protocol."""
