"""The version, a constant: reading the package metadata would cost each start of the program 40 ms."""

__version__ = "0.1.0"
