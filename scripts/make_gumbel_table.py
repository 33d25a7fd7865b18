"""Write sharding/exact/gumbel.bin, the Gumbel table of SPEC.md section 6; `--check` compares the committed one instead."""

import argparse
import hashlib
import sys
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from pathlib import Path

import numpy as np

from sharding.exact.gumbel import CELLS, ENTRIES, EXPONENTS, TABLE_FILE

TARGET = Path(__file__).resolve().parent.parent / "sharding" / "exact" / TABLE_FILE
DIGITS = 60


def entry(index: int) -> int:
    """Entry 8192 b + 256 c + m, Q16. None comes nearer to a tie than 10^-5, far above the error of 60 digits."""
    upper, place = divmod(index, ENTRIES // 2)
    c, m = divmod(place, CELLS)
    with localcontext(Context(prec=DIGITS, rounding=ROUND_HALF_EVEN)):
        p = Decimal(2) ** -33 if c == EXPONENTS - 1 else Decimal(2 * (CELLS + m) + 1) / (1 << (c + 2)) / (2 * CELLS)
        q = 1 - p if upper else p
        return int((-(1 << 16) * (-q.ln()).ln()).to_integral_value())


def table() -> bytes:
    """All entries as little-endian int32."""
    return np.array([entry(index) for index in range(ENTRIES)], "<i4").tobytes()


def main() -> int:
    """Write or check; the exit status is 1 when the committed table is another one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the table would change")
    arguments = parser.parse_args()
    data = table()
    if not arguments.check:
        TARGET.write_bytes(data)
    elif not TARGET.is_file() or TARGET.read_bytes() != data:
        print(f"{TARGET.name} is not what this script computes: run it without --check", file=sys.stderr)
        return 1
    print(f"{TARGET.name} sha256 {hashlib.sha256(data).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
