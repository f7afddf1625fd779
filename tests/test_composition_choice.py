"""Overrides that look like one and can't be kept."""

import pytest

from pipeline.composition.choice import Choice, chosen
from pipeline.terminal.errors import UserError


@pytest.mark.parametrize("text", ["+a='\\'${weed\\f'", "a=${", "a='${oc.env'", "a=['${x:']"])
def test_reference_that_is_none_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(UserError) as caught:
        chosen(Choice({}, {}), [text], ["model"])
    assert str(caught.value).startswith(f"{text}: ")
    assert "\n" not in str(caught.value)
