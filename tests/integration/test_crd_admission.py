"""The real API server, with the CRD alone: what schema and CEL rules refuse, and how they say it."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from kubernetes import client, config

from tests.corpus.policies import BAD, GOOD, Bad
from tests.integration import own_kind

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def policies(control_plane: Path) -> Iterator[client.CustomObjectsApi]:
    with config.new_client_from_config(str(control_plane)) as api:
        own_kind.serve(api)
        yield client.CustomObjectsApi(api)


def create(policies: client.CustomObjectsApi, document: dict[str, object]) -> None:
    """Dry run with strict field validation: what `kubectl apply` asks for."""
    policies.create_namespaced_custom_object(
        "toolpolicy.dev",
        "v1alpha1",
        "default",
        "toolpolicies",
        document,
        dry_run="All",
        field_validation="Strict",
    )


@pytest.mark.parametrize("bad", [bad for bad in BAD if bad.server_says], ids=lambda bad: bad.name)
def test_the_api_server_refuses_and_names_the_field(policies: client.CustomObjectsApi, bad: Bad) -> None:
    assert bad.server_says is not None
    with pytest.raises(client.ApiException) as refused:
        create(policies, bad.policy())
    assert refused.value.status in {400, 422}
    assert bad.server_says in json.loads(refused.value.body or "{}")["message"]


def test_the_api_server_takes_the_unspoilt_policy(policies: client.CustomObjectsApi) -> None:
    create(policies, copy.deepcopy(GOOD))


@pytest.mark.parametrize("bad", [bad for bad in BAD if bad.server_says is None], ids=lambda bad: bad.name)
def test_the_rest_really_needs_the_webhook(policies: client.CustomObjectsApi, bad: Bad) -> None:
    create(policies, bad.policy())


def test_the_api_server_takes_every_example(policies: client.CustomObjectsApi) -> None:
    for file in sorted((ROOT / "examples" / "policies").glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            document["metadata"]["namespace"] = "default"
            create(policies, document)
