"""The rows, in the order in which the table shows them."""

from faults.campaign import Row
from faults.rows import (
    bad_configurations,
    damaged_raw_files,
    flipped_byte,
    full_disk,
    full_disk_elsewhere,
    hostile_inputs,
    interrupted_sweep,
    killed_repro,
    killed_writing,
    mirrors,
    power_cuts,
    side_by_side,
    store_outages,
    store_restarts,
    torn_lock,
)

ROWS: tuple[Row, ...] = (
    killed_repro.ROW,
    torn_lock.ROW,
    interrupted_sweep.ROW,
    killed_writing.KILLED_CHECKPOINT,
    killed_writing.KILLED_RECORD,
    killed_writing.KILLED_MIRROR,
    full_disk.ROW,
    full_disk_elsewhere.ROW,
    power_cuts.ROW,
    flipped_byte.ROW,
    side_by_side.TWO_REPROS,
    side_by_side.TWO_SWEEPS,
    side_by_side.SWEEP_AND_REPRO,
    damaged_raw_files.ROW,
    mirrors.ROW,
    store_outages.ROW,
    store_restarts.ROW,
    bad_configurations.ROW,
    hostile_inputs.ROW,
)
