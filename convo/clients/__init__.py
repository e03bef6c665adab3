"""The services of models: one file each, over the protocol of `base`."""
