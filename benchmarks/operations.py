"""Where an epoch's time goes, by TensorFlow's own profiler."""

import re
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

OPERATION = re.compile(r"/while/.*:(?:_Mkl(?:Native)?)?(\w+)$")
LAYER = re.compile(r"/network(?:_\d+)?/(\w+?)(?:_\d+)?/")
REST = "others"


def seconds_of_operations(run: Callable[[], object]) -> dict[str, float]:
    """Seconds of each operation of each layer while `run` goes on, `block2_conv Conv2DBackpropInput` → 1.2, the most
    first. What belongs to no layer (optimizer, loss, batches) is one entry.
    """
    import tensorflow as tf  # noqa: PLC0415 - seconds
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="profile-") as folder:
        tf.profiler.experimental.start(folder)
        run()
        tf.profiler.experimental.stop()
        (path,) = Path(folder).rglob("*.xplane.pb")
        space = XSpace.FromString(path.read_bytes())
    found: Counter[str] = Counter()
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            name = plane.event_metadata[event.metadata_id].name
            if operation := OPERATION.search(name):
                layer = LAYER.search(name)
                found[f"{layer[1]} {operation[1]}" if layer else REST] += event.duration_ps / 1e12
    return dict(found.most_common())
