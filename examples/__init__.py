"""Three small programs over AsyncStore, each to be read in one go, run, and taken apart."""
