"""What convo costs, measured.

`python -m benchmarks` measures a turn and more, beside peers and the floor. Some modules are commands of their own, for
one thing each: `benchmarks.crowd`, `benchmarks.exporting`, `benchmarks.forking` and `benchmarks.verifying`.
"""
