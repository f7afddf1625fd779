"""The rows, in the order in which the table shows them."""

from faults.campaign import Row

ROWS: tuple[Row, ...] = ()
