"""What the tests of several rooms share."""

import pytest


@pytest.fixture(scope="session")
def two_threads() -> None:
    """TensorFlow takes its number of threads once in a process: the same for all tests, before any of them computes."""
    from pipeline.network.threads import use_threads  # noqa: PLC0415 - most tests need no TensorFlow

    use_threads(2)
