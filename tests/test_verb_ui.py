"""`make ui` is for this machine: it binds loopback, and answers nobody who came by another name."""

import base64
import json
import socket
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests
from pydantic import JsonValue

from pipeline.tracking import study_fields
from pipeline.ui import page_knows_views
from tests.harness.browser import served
from tests.harness.project import Project, new_project
from tests.harness.studies import cell, study

SEARCH = "api/2.0/mlflow/experiments/search"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    project: Project = new_project(tmp_path_factory.mktemp("ui"))
    with served(project) as found:
        yield found


def listening() -> set[tuple[str, int]]:
    """Address and port of every socket on which somebody listens, in the kernel's own words."""
    found = set()
    for table, words in (("/proc/net/tcp", 1), ("/proc/net/tcp6", 4)):
        with open(table) as file:  # noqa: PTH123 - /proc
            rows = [line.split() for line in file][1:]
        for local, state in ((row[1], row[3]) for row in rows):
            if state == "0A":
                place, port = local.split(":")
                raw = b"".join(bytes.fromhex(place[8 * word : 8 * word + 8])[::-1] for word in range(words))
                family = socket.AF_INET if words == 1 else socket.AF_INET6
                found.add((socket.inet_ntop(family, raw), int(port, 16)))
    return found


def test_it_listens_on_loopback_only(address: str) -> None:
    port = int(address.rpartition(":")[2])
    assert {place for place, its_port in listening() if its_port == port} == {"127.0.0.1"}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:5000", "127.0.0.1.evil.example", "127.0.0.1:1", ""])
def test_it_refuses_another_host_as_dns_rebinding_would_bring(address: str, host: str) -> None:
    for path in ("", SEARCH + "?max_results=1", "ajax-" + SEARCH + "?max_results=1"):
        found = requests.get(f"{address}/{path}", headers={"Host": host}, timeout=20)
        assert found.status_code in (400, 403), path
        assert "experiments" not in found.text


@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1.evil.example", "null", "file://"])
def test_it_refuses_a_request_that_a_page_from_elsewhere_makes(address: str, origin: str) -> None:
    made = requests.post(
        f"{address}/api/2.0/mlflow/experiments/create",
        json={"name": f"by {origin}"},
        headers={"Origin": origin},
        timeout=20,
    )
    assert made.status_code == 403
    names = [found["name"] for found in searched(address)]
    assert f"by {origin}" not in names


def searched(address: str) -> list[dict[str, str]]:
    answer = requests.post(f"{address}/{SEARCH}", json={"max_results": 100}, timeout=20)
    assert answer.status_code == 200
    found: list[dict[str, str]] = answer.json()["experiments"]
    return found


def test_it_answers_its_own_page(address: str) -> None:
    assert "conv2d" in {found["name"] for found in searched(address)}
    own = {"Origin": address}
    assert requests.post(f"{address}/{SEARCH}", json={"max_results": 1}, headers=own, timeout=20).status_code == 200


def view(tag: str) -> tuple[str, dict[str, Any]]:
    """The name of a saved view, and what it shows, as MLflow's page reads them."""
    envelope = json.loads(tag)
    assert isinstance(envelope["createdAt"], int)
    packed = envelope["state"].removeprefix("deflate;")
    return envelope["name"], json.loads(zlib.decompress(base64.b64decode(packed)))


@pytest.mark.parametrize("images", ["validation", "test"])
def test_the_views_of_a_study_are_sorted_by_the_metric_that_its_runs_have(images: str) -> None:
    settings: dict[str, dict[str, JsonValue]] = {"a": {"model.conv.filters": 8}, "b": {"model.conv.filters": 16}}
    tags = study_fields.view_tags(study(settings, images=images))
    (name, runs), (_, means) = (view(tags[f"{study_fields.VIEW}{key}"]) for key in study_fields.study_views("kernels"))
    assert name == "kernels: runs, the best first"
    for state in (runs, means):
        assert (state["orderByKey"], state["orderByAsc"]) == (f"metrics.`accuracy/{images}`", False)
        assert state["searchFilter"] == "tags.study = 'kernels' and tags.role = 'run'"
        assert state["selectedColumns"][:2] == [f"metrics.`accuracy/{images}`", "params.`model.conv.filters`"]
    assert "params.`seed`" in runs["selectedColumns"]
    assert means["groupBy"] == {
        "aggregateFunction": "average",
        "groupByKeys": [{"mode": "tag", "groupByData": "setting"}],
    }
    assert means["groupsExpanded"] == {"tag.setting.8 filters": False, "tag.setting.16 filters": False}


def test_a_setting_with_a_name_is_told_by_what_it_stands_for() -> None:
    base: dict[str, JsonValue] = {"model.conv.kernel_size": 5, "model.conv.filters": 32, "seed_of_split": 0}
    found = study({"a": base, "b": base | {"model.conv.kernel_size": 3, "model.conv.filters": 46}})
    named = {key: replace(one, variants={"setting": f"k_{key}"}) for key, one in found.settings.items()}
    found = replace(found, settings=named, cells=(cell("a", 0, accuracy=0.9), cell("b", 0, accuracy=0.8)))
    assert study_fields.study_tags(found)["best"] == "setting k_a (5 × 5 kernels, 32 filters): 90.00 % (1)"
    for key in study_fields.study_views("kernels"):
        _, state = view(study_fields.view_tags(found)[f"{study_fields.VIEW}{key}"])
        assert state["selectedColumns"][1:3] == ["params.`model.conv.kernel_size`", "params.`model.conv.filters`"]
    # A variant that sets much is known by its name.
    much = {key: replace(one, values={**one.values, **dict.fromkeys("uvwxyz", key)}) for key, one in named.items()}
    assert study_fields.study_tags(replace(found, settings=much))["best"] == "setting k_a: 90.00 % (1)"


def test_the_studies_of_the_rules_have_a_view_of_their_own() -> None:
    rules = f"{study_fields.VIEW}{study_fields.RULES}"
    found = study({"a": {"model.conv.filters": 8}, "b": {"model.conv.filters": 16}})
    assert rules not in study_fields.view_tags(found)
    name, state = view(study_fields.view_tags(replace(found, name="rules_filters"))[rules])
    assert name == "rules of thumb"
    assert state["searchFilter"] == "tags.role = 'study' and tags.study LIKE 'rules_%'"
    assert state["selectedColumns"][0] == "tags.`verdict`"


def test_no_view_is_longer_than_a_tag_of_an_experiment() -> None:
    keys = [f"model.blocks.block{number}.conv.kernel_initializer" for number in range(30)]
    settings: dict[str, dict[str, JsonValue]] = {
        str(number): dict.fromkeys(keys, f"{number * 7_919_993 % 1_000_003:020}") for number in range(500)
    }
    assert max(map(len, study_fields.view_tags(study(settings)).values())) <= 5_000


def test_the_page_of_this_mlflow_has_views_in_another_the_ordinary_list_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What it makes of them is for tests/test_browser.py; the day this fails, look there first.
    assert page_knows_views()
    monkeypatch.setattr(study_fields, "VIEW", "mlflow.viewOfAnotherKind.")
    assert not page_knows_views()
    assert study_fields.page("1", None) == "#/experiments/1/runs?workflowType=machine_learning"
    assert study_fields.page("1", "a b").endswith("&viewStateShareKey=a%20b")


def test_what_it_can_not_refuse_is_what_the_page_on_security_says(address: str) -> None:
    """MLflow's server allows every localhost origin to write, and answers /graphql: no option of it is against that."""
    query = {"query": 'query { mlflowSearchRuns(input: {experimentIds: ["1"]}) { runs { info { runId } } } }'}
    found = requests.post(f"{address}/graphql", json=query, headers={"Origin": "http://evil.example"}, timeout=20)
    assert found.status_code == 200
    # Without it a browser keeps the answer from the page.
    assert "access-control-allow-origin" not in found.headers
    made = requests.post(
        f"{address}/api/2.0/mlflow/experiments/create",
        json={"name": "by a neighbour"},
        headers={"Origin": "http://localhost:1"},
        timeout=20,
    )
    assert made.status_code == 200
