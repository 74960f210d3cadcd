"""`spec.servers`: where tools are."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from toolpolicy_api.policy.concurrency import Concurrency
from toolpolicy_api.policy.model import Model, Name, cel


class ClientCertificate(Model):
    """A Secret of type kubernetes.io/tls in the pod's namespace. It is mounted in the sidecars of pods that start while
    the policy is there."""

    secret_name: Annotated[
        str,
        Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253),
    ]


class ServerTls(Model):
    """How the sidecar knows an https server, and how the server knows it."""

    ca_bundle: Annotated[
        str | None,
        Field(
            description="Certificates in PEM; these vouch for the server, and no others. Default: the system's, and"
            " the installation's extra roots.",
            min_length=1,
            max_length=65_536,
        ),
    ] = None
    server_name: Annotated[
        str | None,
        Field(
            description="The name that the server is asked for (SNI) and that its certificate must have. Default: the"
            " host of the url.",
            pattern=r"^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*$",
            max_length=253,
        ),
    ] = None
    client_certificate: Annotated[
        ClientCertificate | None, Field(description="What the sidecar shows to a server that asks for it.")
    ] = None


class Stdio(Model):
    """The server has no address: the agent starts it, by `toolpolicy stdio`, and speaks to it over pipes."""


class Server(Model):
    """A place that has tools: an MCP server, or the base of an HTTP API."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!has(self.tls) || (has(self.url) && self.url.startsWith('https://'))",
                "tls is for https; write the url with https:// or remove tls",
            ),
            ("has(self.url) != has(self.stdio)", "set one of url and stdio"),
            ("!has(self.stdio) || self.protocol == 'MCP'", "a stdio server speaks MCP"),
            ("!has(self.stdio) || !has(self.timeoutHeader)", "a stdio server gets no headers"),
            (
                "!has(self.upgrade) || self.upgrade == 'Refuse' || self.protocol == 'HTTP'",
                "upgrade: Tunnel is for HTTP servers; MCP has no WebSockets",
            ),
        )
    )

    name: Annotated[Name, Field(description="Names the server in metrics, status and TOOLPOLICY_<NAME>_URL.")]
    protocol: Literal["MCP", "HTTP"]
    url: Annotated[
        str | None,
        Field(
            description="Where the server is. A path here is the prefix of every call's path.",
            pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?$",
            max_length=2048,
        ),
    ] = None
    stdio: Annotated[
        Stdio | None,
        Field(
            description="{} in the place of url: `toolpolicy stdio` starts the server and speaks to it over pipes."
        ),
    ] = None
    timeout_header: Annotated[
        str | None,
        Field(
            description="The header in which it is told how many milliseconds are left for a call."
            " Default X-Request-Timeout-Ms.",
            pattern=r"^[A-Za-z0-9-]+$",
            min_length=1,
            max_length=64,
        ),
    ] = None
    concurrency: Annotated[
        Concurrency | None,
        Field(description="For all calls of its tools together, besides the limits of each tool."),
    ] = None
    tls: Annotated[ServerTls | None, Field(description="Only with an https url.")] = None
    upgrade: Annotated[
        Literal["Refuse", "Tunnel"],
        Field(
            description="What becomes of a WebSocket: Refuse (403), or Tunnel, for HTTP servers only. Its handshake is"
            " a call like any other. Nothing that is said in it afterwards is redacted, limited or recorded, but for"
            " its bytes and its duration; it keeps its concurrency slots, and is cut when nothing has moved for an"
            " hour. With redaction, only tools that are exempt or whose onUnscannable is Pass may have one."
        ),
    ] = "Refuse"
