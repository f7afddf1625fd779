"""The rows, in the order in which the table shows them."""

from faults.campaign import Row
from faults.rows import interrupted_sweep, killed_repro

ROWS: tuple[Row, ...] = (killed_repro.ROW, interrupted_sweep.ROW)
