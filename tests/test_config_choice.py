"""Overrides that look like one and can't be kept."""

import time

import pytest

from pipeline.config.compose import Choice, choose
from pipeline.terminal.errors import UserError


@pytest.mark.parametrize("text", ["+a='${}'", "a='${b.}'", "a=['${b..c}']", "a='${.}x${}'"])
def test_reference_that_is_none_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(UserError) as caught:
        choose(Choice({}, {}), [text], ["model"])
    assert str(caught.value).startswith(f"{text}: has a value that can't be kept (")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["[" * 200 + "]" * 200, "[" * 20_000, "{a: " * 200 + "1" + "}" * 200])
def test_value_deeper_than_any_configuration_is_refused_at_once(value: str) -> None:
    began = time.process_time()
    with pytest.raises(UserError, match="holds brackets in brackets more than 32 deep"):
        choose(Choice({}, {}), [f"a={value}"], ["model"])
    assert time.process_time() - began < 1


def test_value_of_a_configurations_depth_is_kept() -> None:
    kept = choose(Choice({}, {}), ["a={b: {c: [[1, 2], 3]}}"], ["model"])
    assert kept.values == {"a.b.c": [[1, 2], 3]}
