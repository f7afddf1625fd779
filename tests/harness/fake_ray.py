"""In place of Ray: nodes that are there at once, and tasks that say what a test lets them say."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from pipeline.studies.plan import Job
from pipeline.studies.ray_node import describe


class RayError(Exception):
    """A process or a node died."""


class RayTaskError(RayError):
    """What a task raised."""


Act = Callable[[Job, str], Iterable[Any]]
"""What is heard of a job from a node, one after the other; an exception is raised where it is asked for."""


@dataclass
class FakeRay:
    """`machines` has for each node its CPUs and what it says of itself, `cards` how many cards it has; `sent` which job
    went to which node, `options` how.
    """

    machines: dict[str, tuple[int, Any]]
    act: Act
    sent: list[tuple[int, str]] = field(default_factory=list)
    cancelled: list[Any] = field(default_factory=list)
    begun: dict[str, Any] = field(default_factory=dict)
    cards: dict[str, int] = field(default_factory=dict)
    options: list[dict[str, Any]] = field(default_factory=list)

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError, RuntimeEnvSetupError=RayTaskError)
    util = SimpleNamespace(
        scheduling_strategies=SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: (node, soft)[0])
    )

    def init(self, **options: Any) -> None:
        self.begun = options

    def is_initialized(self) -> bool:
        return bool(self.begun)

    def nodes(self) -> list[dict[str, Any]]:
        has = {
            name: {"CPU": float(cpus), **({"GPU": float(self.cards[name])} if name in self.cards else {})}
            for name, (cpus, _) in self.machines.items()
        }
        return [
            {"NodeID": name, "Alive": True, "NodeManagerHostname": f"{name}.local", "Resources": own}
            for name, own in has.items()
        ]

    def put(self, value: Any) -> Any:
        return value

    def remote(self, task: Any) -> Any:
        def options(scheduling_strategy: str, **more: Any) -> Any:
            self.options.append(more)
            return SimpleNamespace(remote=lambda *words: self._begin(task, scheduling_strategy, words))

        return SimpleNamespace(options=options)

    def wait(self, words: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        return words, []

    def get(self, word: Any) -> Any:
        word = word.answer if isinstance(word, Answer) else word
        if isinstance(word, Exception):
            raise word
        return word

    def cancel(self, words: Any, force: bool) -> None:
        assert force
        self.cancelled.append(words)

    def _begin(self, task: Any, node: str, words: tuple[Any, ...]) -> Any:
        if task is describe:
            return Answer(self.machines[node][1])
        self.sent.append((words[0].seed, node))
        return Words(iter(self.act(words[0], node)))


@dataclass(eq=False)
class Answer:
    answer: Any


@dataclass(eq=False)
class Words:
    left: Iterator[Any]

    def __next__(self) -> Any:
        return next(self.left)
