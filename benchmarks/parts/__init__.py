"""The parts of the suite: each measures one thing, and returns its figures as they are written to JSON."""
