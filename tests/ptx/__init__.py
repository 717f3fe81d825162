"""A machine for PTX: runs what Triton compiled for NVIDIA GPUs, instruction by instruction, on the memory of this process.

Triton's interpreter runs the Python of a kernel, its compiler is not in it. Here runs what the compiler made: layouts, widths of loads,
shuffles, barriers, predicates, conversions. `launch.emulated` replaces launches; `machine.run` runs one; `text.parse` reads PTX.
"""
