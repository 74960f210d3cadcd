"""Values by their place: which paths there are, what they name, and that documents stay documents."""

import json
import re
from collections import Counter
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolpolicy_api import snapshot
from toolpolicy_api.jsonpath import Segment, parse
from toolpolicy_sidecar import cleanse
from toolpolicy_sidecar.problem import Stopped
from toolpolicy_sidecar.redact.fields import Fields
from toolpolicy_sidecar.redact.placeholder import Placeholders
from toolpolicy_sidecar.redact.redactor import Blocked, InvalidPattern, Redactor


def redactor(*fields: tuple[str, snapshot.FieldAction], detectors: tuple[str, ...] = ()) -> Redactor:
    rules = tuple(snapshot.FieldRule(path, action) for path, action in fields)
    return Redactor.compile(snapshot.Redaction(fields=rules, detectors=detectors), b"a key")


def fields(*rules: tuple[str, snapshot.FieldAction]) -> Fields:
    return Fields([snapshot.FieldRule(*rule) for rule in rules], Placeholders(b"a key", ["field"], []))


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("$.customer.ssn", (Segment("customer"), Segment("ssn"))),
        ("$..password", (Segment("password", anywhere=True),)),
        ("$.*[0]", (Segment(None), Segment(0))),
        ("$..[*]", (Segment(None, anywhere=True),)),
        ("$['a b'][\"c\"]", (Segment("a b"), Segment("c"))),
        (r"$['it\'s \"\u00e9']", (Segment("it's \"é"),)),
        ('$["it\'s"]', (Segment("it's"),)),
        ("$[ 'x' ]", (Segment("x"),)),
        ("$.größe_2", (Segment("größe_2"),)),
    ],
)
def test_paths_are_read(path: str, segments: tuple[Segment, ...]) -> None:
    assert parse(path) == segments


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("customer.ssn", "must begin with $"),
        ("$", "names the whole document"),
        ("$.a[?@.b == 1]", "filters are not supported"),
        ("$.a[-1]", "indices from the end"),
        ("$.a[0,1]", "one path for each"),
        ("$.a[0:2]", "slices are not supported"),
        ("$.a.", "needs a name"),
        ("$.a-b", "'-' is not understood"),
        ("$.1", "needs a name"),
        ("$[01]", "a bracket needs"),
        ("$['a'", "a bracket needs"),
        (r"$['\x']", "is no string"),
        ("$ .a", "' ' is not understood"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_reason(path: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse(path)
    with pytest.raises(InvalidPattern, match=r"fields\[0\]"):
        redactor((path, "Drop"))


DOCUMENT = (
    b'{ "customer" : {"ssn": 123, "name":"Jane" }, "list": [ {"ssn":"1"} , {"ssn": [1, 2]} ] ,"ssn":null}'
)


@pytest.mark.parametrize(
    ("path", "action", "left"),
    [
        (
            "$.customer.ssn",
            "Mask",
            DOCUMENT.replace(b"123", b'"[redacted:field]"'),
        ),
        ("$.customer.ssn", "Drop", DOCUMENT.replace(b'"ssn": 123, ', b"")),
        ("$.customer.name", "Drop", DOCUMENT.replace(b', "name":"Jane"', b"")),
        ("$.list[1]", "Drop", DOCUMENT.replace(b' , {"ssn": [1, 2]}', b"")),
        ("$.list[*]", "Drop", b'{ "customer" : {"ssn": 123, "name":"Jane" }, "list": [  ] ,"ssn":null}'),
        ("$.*", "Drop", b"{ }"),
        (
            "$.ssn",
            "Drop",
            DOCUMENT.replace(b',"ssn":null', b"").replace(b"] }", b"]}").replace(b"] ]", b"] ]"),
        ),
    ],
)
def test_everything_else_stays_as_it_is_written(path: str, action: snapshot.FieldAction, left: bytes) -> None:
    found = redactor((path, action)).document(DOCUMENT)
    assert json.loads(found.value) == json.loads(left)
    assert found.value.translate(None, b" ") == left.translate(None, b" ")
    assert found.hits


@pytest.mark.parametrize("gone", [set(bits) for size in range(5) for bits in combinations(range(4), size)])
def test_commas_go_along_with_what_is_dropped(gone: set[int]) -> None:
    rules: list[tuple[str, snapshot.FieldAction]] = [
        (f"$[{index}]", "Drop" if index in gone else "Mask") for index in range(3)
    ]
    rules += [("$[3]", "Drop")] if 3 in gone else []
    left = fields(*rules).redact(b"[ 0 , 1,2 ,3 ]", Counter())
    kept = [index for index in range(4) if index not in gone]
    assert json.loads(left) == ["[redacted:field]" if index < 3 else 3 for index in kept]


def test_at_any_depth_and_the_first_rule_holds() -> None:
    found = redactor(("$.ssn", "Drop"), ("$..ssn", "Mask")).document(DOCUMENT)
    assert json.loads(found.value) == {
        "customer": {"ssn": "[redacted:field]", "name": "Jane"},
        "list": [{"ssn": "[redacted:field]"}, {"ssn": "[redacted:field]"}],
    }
    assert found.hits == {"field": 4}


def test_block_lets_nothing_pass_and_only_if_the_field_is_there() -> None:
    blocking = redactor(("$..token", "Block"))
    assert blocking.document(DOCUMENT).value is DOCUMENT
    with pytest.raises(Blocked, match="field"):
        blocking.document(rb'{"a": [{"t\u006fken": ""}]}')


def test_hash_tells_values_apart() -> None:
    hashing = redactor(("$[*]", "Hash"))
    once = hashing.document(b'["a", "b", "a", {"a": 1}]').value
    first, second, third, fourth = json.loads(once)
    assert first == third
    assert len({first, second, fourth}) == 3
    assert hashing.document(once) == (once, {})


def test_what_is_left_is_scanned() -> None:
    found = redactor(("$.a", "Mask"), detectors=("Email",)).document(b'{"a": "x@y.org", "b": "x@y.org"}')
    assert found == (b'{"a": "[redacted:field]", "b": "[redacted:Email]"}', {"field": 1, "Email": 1})


def test_names_that_need_escapes_are_found_however_they_are_written() -> None:
    found = redactor(('$["é\\"/"]', "Mask")).document(rb'{"\u00e9\"\/": 1}')
    assert json.loads(found.value) == {'é"/': "[redacted:field]"}


def test_results_of_mcp_have_fields_in_their_structure_and_in_their_texts() -> None:
    text = json.dumps({"ssn": "1", "content": "stays"})
    result = {
        "content": [{"type": "text", "text": text}, {"type": "text", "text": "ssn"}],
        "structuredContent": {"ssn": "1", "content": "stays"},
        "ssn": "not the tool's",
    }
    message = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()
    found = cleanse.mcp_message(redactor(("$.ssn", "Drop"), ("$.content[0]", "Drop")), message)
    left = json.loads(found.value)["result"]
    assert left["structuredContent"] == {"content": "stays"} == json.loads(left["content"][0]["text"])
    assert left["content"][1]["text"] == "ssn"
    assert left["ssn"] == "not the tool's"
    assert found.hits == {"field": 2}


@pytest.mark.parametrize("name", ['"result"', '"r\\u0065sult"'])
def test_a_member_that_a_server_says_twice_is_said_once(name: str) -> None:
    """A client may take the first: it must not be one that nobody looked at."""
    message = f'{{"id":1,{name}:{{"ssn":"078-1"}},"result":{{"x":"078"}}, "error":"078"}}'.encode()
    patterns = (snapshot.Pattern("ssn", "[0-9]{3}-[0-9]", "[ssn]"),)
    found = cleanse.mcp_message(Redactor.compile(snapshot.Redaction(patterns=patterns)), message)
    assert b"078-1" not in found.value
    assert json.loads(found.value) == {"id": 1, "result": {"x": "078"}, "error": "078"}


def test_a_message_without_hits_stays_as_it_is() -> None:
    message = b'{"id": 1, "result": {"result": "\\u0030", "error": 1}}'
    assert cleanse.mcp_message(redactor(("$.ssn", "Mask")), message).value is message


def test_arguments_and_the_headers_that_mirror_them() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"ssn":"078-1","x":1}}}'
    headers = ((b"Mcp-Param-Ssn", b"078-1"), (b"Mcp-Param-Other", b"078"))
    left, mirrored, hits = cleanse.mcp_request(redactor(("$.ssn", "Mask")), body, headers)
    assert json.loads(left)["params"]["arguments"] == {"ssn": "[redacted:field]", "x": 1}
    assert mirrored == ((b"Mcp-Param-Ssn", b"[redacted:field]"), (b"Mcp-Param-Other", b"078"))
    assert hits == {"field": 1}
    with pytest.raises(Stopped, match="field"):
        cleanse.mcp_request(redactor(("$.ssn", "Block")), body, headers)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers(0, 9) | st.sampled_from(["", 'a"', "\\", "é"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "é", 'q"']), inner)
    ),
    max_leaves=12,
)
SELECTORS = st.sampled_from(["a", "b", "é", 'q"', 0, 1, None])
PATHS = st.lists(st.builds(Segment, SELECTORS, st.booleans()), min_size=1, max_size=3)


def spelled(path: list[Segment]) -> str:
    text = "$"
    for segment in path:
        inside = "*" if segment.selector is None else json.dumps(segment.selector)
        text += (".." if segment.anywhere else "") + f"[{inside}]"
    return text


def without(value: Any, path: list[Segment]) -> Any:
    """What Drop leaves, the slow way: on decoded values."""
    gone: set[int] = set()
    holders: list[list[Any]] = []

    def hold(inner: Any) -> Any:
        """Every value in a holder of its own, so that equal ones are told apart."""
        holder = [inner]
        holders.append(holder)
        if isinstance(inner, dict):
            holder[0] = {key: hold(item) for key, item in inner.items()}
        elif isinstance(inner, list):
            holder[0] = [hold(item) for item in inner]
        return holder

    def children(holder: Any) -> list[tuple[str | int, Any]]:
        inner = holder[0]
        if isinstance(inner, dict):
            return list(inner.items())
        return list(enumerate(inner)) if isinstance(inner, list) else []

    def walk(holder: Any, rest: list[Segment]) -> None:
        segment, *more = rest
        for name, child in children(holder):
            if segment.selector is None or (
                type(name) is type(segment.selector) and name == segment.selector
            ):
                if more:
                    walk(child, more)
                else:
                    gone.add(id(child))
            if segment.anywhere:
                walk(child, rest)

    def left(holder: Any) -> Any:
        inner = holder[0]
        if isinstance(inner, dict):
            return {key: left(item) for key, item in inner.items() if id(item) not in gone}
        if isinstance(inner, list):
            return [left(item) for item in inner if id(item) not in gone]
        return inner

    root = hold(value)
    walk(root, path)
    return left(root)


@given(VALUES, PATHS, st.sampled_from([None, 1]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_drop_leaves_what_the_path_does_not_name(
    value: Any, path: list[Segment], indent: int | None, ascii_only: bool
) -> None:
    data = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    hits = Counter[str]()
    left = fields((spelled(path), "Drop")).redact(data, hits)
    assert json.loads(left) == without(value, path)
    assert hits or left is data


@given(VALUES, st.lists(st.tuples(PATHS.map(spelled), st.sampled_from(["Mask", "Drop", "Hash"])), max_size=3))
@settings(max_examples=200, deadline=None)
def test_rules_together_leave_a_document(value: Any, rules: list[tuple[str, snapshot.FieldAction]]) -> None:
    json.loads(fields(*rules).redact(json.dumps(value).encode(), Counter()))
