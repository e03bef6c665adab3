"""What convo costs, measured: each module is a command, `python -m benchmarks.crowd`."""
