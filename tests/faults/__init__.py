"""Faults: processes that die, senders that race, commits whose answer is lost; and the proof that nothing was.

The suite runs each in a quick form. The long forms: ``python -m tests.faults kills --database sqlite --count 10000``.
"""
