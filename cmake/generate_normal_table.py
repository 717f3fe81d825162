"""Write the frozen table by which both bodies of `init_rows_` turn a random word into a normal value.

    python cmake/generate_normal_table.py        (writes csrc/core/normal_table.h and src/sparrow/ops/init_rows/normal_table.py)

A 31-bit magnitude m is the tail probability p = (m + 0.5) / 2^32, in (0, 0.5). Each octave of m (by its highest set bit; m = 0
counts as octave 0) is cut into equal pieces; on each, the inverse of the normal distribution function is a cubic in t, t in [0, 1) running
across the piece. Coefficients are fitted here once; the files are committed, never rebuilt, so that first values are the same bits
everywhere whatever the libm. Changing them changes the first values of every table.
"""

import pathlib
from statistics import NormalDist

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
OCTAVES, PIECES, TERMS = 31, 8, 4
HEADER = """// Cubic pieces of the inverse normal distribution function, lowest term first; written by cmake/generate_normal_table.py.
#pragma once

namespace sparrow {{

constexpr int kNormalPieces = {pieces};
constexpr double kNormalTable[{rows}][4] = {{
{body}
}};

}}  // namespace sparrow
"""
MODULE = '''"""Cubic pieces of the inverse normal distribution function, lowest term first; written by cmake/generate_normal_table.py."""

PIECES = {pieces}
_HEX = """
{body}
"""
TABLE: list[list[float]] = [[float.fromhex(term) for term in line.split()] for line in _HEX.split("\\n") if line]
'''


def piece(octave: int, index: int) -> list[float]:
    """Return the cubic through four Chebyshev nodes of one piece."""
    low = 0.0 if octave == 0 else 2.0**octave
    width = (2.0 ** (octave + 1) - low) / PIECES
    if octave == 0:
        # Only m = 0 and m = 1 come here, each at the start of a piece, and no cubic follows so far a tail: their exact values.
        return [-NormalDist().inv_cdf((index * width + 0.5) / 2**32), 0.0, 0.0, 0.0]
    nodes = 0.5 - 0.5 * np.cos(np.pi * (np.arange(TERMS) + 0.5) / TERMS)
    values = [-NormalDist().inv_cdf((low + (index + t) * width + 0.5) / 2**32) for t in nodes]
    return np.polynomial.polynomial.polyfit(nodes, values, TERMS - 1).tolist()


def main() -> None:
    rows = [piece(octave, index) for octave in range(OCTAVES) for index in range(PIECES)]
    lines = [[float(term).hex() for term in row] for row in rows]
    header = HEADER.format(pieces=PIECES, rows=len(rows), body=",\n".join("    {" + ", ".join(line) + "}" for line in lines))
    (ROOT / "csrc/core/normal_table.h").write_text(header)
    module = MODULE.format(pieces=PIECES, body="\n".join(" ".join(line) for line in lines))
    (ROOT / "src/sparrow/ops/init_rows/normal_table.py").write_text(module)


if __name__ == "__main__":
    main()
