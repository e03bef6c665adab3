"""The forms in which conversations leave a store and enter it: one file a form, pure functions of values and lines."""
