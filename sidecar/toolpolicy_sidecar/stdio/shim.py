"""Line by line: tool calls go through the pipeline, everything else passes from one side to the other."""

import asyncio
import logging
from functools import partial
from secrets import token_hex
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from toolpolicy_sidecar import cleanse, render
from toolpolicy_sidecar.aside import aside
from toolpolicy_sidecar.call import Passing, ToolCall
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.fallback.schemas import listed
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.mcp import jsonrpc
from toolpolicy_sidecar.pipeline import Pipeline
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.recognise import mcp as recogniser
from toolpolicy_sidecar.record import Recorder, RefusedRequest
from toolpolicy_sidecar.redact.redactor import Redactor
from toolpolicy_sidecar.relay.passing import LIST_BYTES
from toolpolicy_sidecar.stdio.agent_pipes import Output
from toolpolicy_sidecar.stdio.asked import LineReply, incoming
from toolpolicy_sidecar.stdio.lines import TooLong
from toolpolicy_sidecar.stdio.server_pipe import ServerPipe
from toolpolicy_sidecar.tool import ServerState
from toolpolicy_sidecar.upstream.failure import ConnectRefused

log = logging.getLogger("toolpolicy")

CALLS_AT_ONCE = 256
"""Of one agent. With more, its input is read no further until one is answered."""
REQUESTS_REMEMBERED = 1024
INTERNAL_ERROR = -32603


class Shim:
    def __init__(
        self,
        server: str,
        *,
        to_agent: Output,
        to_server: ServerPipe,
        current: Current,
        pipeline: Pipeline,
        recorder: Recorder,
        limits: Limits,
        clock: Clock,
    ) -> None:
        """`server`: its name in the policies."""
        self._name, self._agent, self._server = server, to_agent, to_server
        self._current, self._pipeline, self._recorder = current, pipeline, recorder
        self._limits, self._clock = limits, clock
        self._session = token_hex(16).encode()
        self._room = asyncio.Semaphore(CALLS_AT_ONCE)
        self._calls: dict[asyncio.Task[None], ToolCall] = {}
        self._asked: dict[bytes, Passing] = {}
        """Requests that passed, by id, until they are answered: it depends on the question what an answer is."""

    async def from_agent(self, line: bytes | TooLong) -> None:
        """Raises ConnectionError when the agent is gone."""
        if isinstance(line, TooLong):
            text = (
                f"a message of {line.size_bytes} bytes is over the {self._limits.body_bytes} that are taken"
            )
            await self._refuse(Problem(Reason.BodyTooLarge, text, code=jsonrpc.INVALID_REQUEST), UNSET)
            return
        if not line.strip():
            return
        try:
            asked = incoming(line, self._session, self._clock)
            recognised = await recogniser.recognise(asked, self._state(), self._limits.body_bytes)
            if isinstance(recognised, ToolCall):
                await self._room.acquire()
                self._begin(recognised)
            elif not self._took_back(recognised.body or b""):
                self._remember(recognised)
                await self._server.send(recognised.body or line)
        except Stopped as stopped:
            await self._refuse(stopped.problem, _identifier(line))
        except ConnectRefused:
            return  # the agent hears of the server's end by the end of our output

    async def from_server(self, line: bytes | TooLong) -> None:
        """Raises ConnectionError when the agent is gone."""
        if isinstance(line, TooLong):
            if not self._server.hear_of(line):
                log.error(
                    "a message of the server is too long and was dropped", extra={"bytes": line.size_bytes}
                )
            return
        members = jsonrpc.members_of(line) or {}
        asked = None
        if "method" not in members and "id" in members:
            identifier = bytes(members["id"])
            asked = self._asked.pop(identifier, None)
            if asked is None and self._server.hear(identifier, line):
                return
        try:
            line = await self._redacted(line, members, asked)
        except Stopped as stopped:
            await self._withhold(stopped.problem, members)
            return
        if asked is not None and asked.lists and asked.server.schemas is not None and len(line) <= LIST_BYTES:
            asked.server.schemas.learn(listed(line, events=False, limit_bytes=LIST_BYTES))
        await self._agent.write(line)

    async def drained(self, timeout_s: float) -> None:
        """Until every call is answered, at most this long."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=timeout_s)

    async def close(self) -> None:
        """Calls that are still under way are answered no more."""
        calls = list(self._calls)
        for task in calls:
            task.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    def _state(self) -> ServerState:
        """Raises Stopped."""
        runtime = self._current.runtime
        server = runtime.servers.get(self._name) if runtime else None
        if server is None or not server.place.origin.piped:
            text = f"no policy has a server {self._name!r} with `stdio: {{}}` any more"
            raise Stopped(Problem(Reason.UnknownServer, text, code=INTERNAL_ERROR))
        return server

    def _begin(self, call: ToolCall) -> None:
        # Whatever the version: giving up an exchange is what takes a call back here.
        if call.mcp is not None:
            call = replace(call, mcp=replace(call.mcp, modern=True))
        task = asyncio.ensure_future(self._call(call))
        self._calls[task] = call
        self._current.in_flight.requests += 1
        task.add_done_callback(self._done)

    async def _call(self, call: ToolCall) -> None:
        try:
            await self._pipeline.call(call, LineReply(self._agent, self._clock))
        except ConnectionError:
            return  # the agent reads no more

    def _done(self, task: "asyncio.Task[None]") -> None:
        del self._calls[task]
        self._current.in_flight.requests -= 1
        self._room.release()

    def _took_back(self, body: bytes) -> bool:
        """The agent cancels a call that is under way: whoever waits for it tells the server, who knows it by another
        id."""
        if jsonrpc.CANCELLED.encode() not in body:
            return False
        message = jsonrpc.read(body)
        if message.method != jsonrpc.CANCELLED:
            return False
        wanted = bytes((jsonrpc.members_of(message.params) or {}).get("requestId", b""))
        for task, call in self._calls.items():
            if call.mcp is not None and call.mcp.identifier == wanted:
                task.cancel()
                return True
        return False

    def _remember(self, passing: Passing) -> None:
        members = jsonrpc.members_of(passing.body or b"") or {}
        if "method" in members and "id" in members:
            if len(self._asked) == REQUESTS_REMEMBERED:  # the oldest was cancelled, or is never answered
                del self._asked[next(iter(self._asked))]
            self._asked[bytes(members["id"])] = passing

    async def _redacted(self, line: bytes, members: dict[str, Any], asked: Passing | None) -> bytes:
        """Raises Stopped for what must not reach the agent."""
        redactor = self._redactor(members)
        if redactor is None:
            return line
        # What nobody remembers to have asked for is looked at whole.
        results = asked is None or asked.reads
        work = partial(cleanse.mcp_message, redactor, line, results=results)
        found = await aside(len(line), work, partial(redactor.light, line))
        return found.value

    def _redactor(self, members: dict[str, Any]) -> Redactor | None:
        """A tool's own for news of its progress; for all else that of tools which are not listed."""
        params = jsonrpc.members_of(members.get("params", UNSET)) or {}
        token = params.get("progressToken")
        if token is not None:
            for call in self._calls.values():
                if call.mcp is not None and _progress_token(call.mcp.body) == bytes(token):
                    return call.tool.on_response
        return self._state().unlisted.on_response

    async def _refuse(self, problem: Problem, identifier: msgspec.Raw | UnsetType) -> None:
        """What the agent sent. A notification has nobody to answer to, but what cannot be read may be a request."""
        rendered = render.of_request(problem)
        self._recorder.refused(
            RefusedRequest(reason=problem.reason, status=rendered.status, error=problem.detail)
        )
        if isinstance(identifier, UnsetType) and problem.reason is Reason.UnknownServer:
            return
        raw = b"null" if isinstance(identifier, UnsetType) else bytes(identifier)
        await self._agent.write(_error(problem, raw))

    async def _withhold(self, problem: Problem, members: dict[str, Any]) -> None:
        """What the server sent: whoever waits for an answer gets an error."""
        rendered = render.of_request(problem)
        self._recorder.refused(
            RefusedRequest(reason=problem.reason, status=rendered.status, error=problem.detail)
        )
        if "id" not in members:
            return
        answer = _error(problem, bytes(members["id"]))
        if "method" in members:
            try:
                await self._server.send(answer)
            except ConnectRefused:
                return
        else:
            await self._agent.write(answer)


def _error(problem: Problem, identifier: bytes) -> bytes:
    text = problem.detail[:1].upper() + problem.detail[1:]
    return jsonrpc.error(problem.code or INTERNAL_ERROR, text, identifier, {"reason": problem.reason})


def _identifier(line: bytes) -> msgspec.Raw | UnsetType:
    members = jsonrpc.members_of(line) or {}
    return members.get("id", UNSET)


def _progress_token(body: bytes) -> bytes | None:
    params = jsonrpc.members_of((jsonrpc.members_of(body) or {}).get("params", UNSET)) or {}
    meta = jsonrpc.members_of(params.get("_meta", UNSET)) or {}
    token = meta.get("progressToken")
    return None if token is None else bytes(token)
