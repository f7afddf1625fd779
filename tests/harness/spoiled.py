"""MLflow clients that fail, or forget to answer."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pipeline.tracking.store import Store


class Spoiled:
    """A client, some of whose methods are done by others."""

    def __init__(self, client: Any, **others: Callable[..., Any]) -> None:
        self._client = client
        self._others = others

    def __getattr__(self, name: str) -> Any:
        return self._others.get(name) or getattr(self._client, name)


def spoiled(store: Store, **others: Callable[..., Any]) -> Store:
    client: Any = Spoiled(store.client, **others)
    return replace(store, client=client)


def lost(call: Callable[..., Any]) -> Callable[..., Any]:
    """Does it, but the answer does not come back."""

    def done_without_answer(*arguments: Any, **options: Any) -> None:
        call(*arguments, **options)
        raise ConnectionError("Connection aborted")

    return done_without_answer
