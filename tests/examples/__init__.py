"""The examples, each run as a program of its own against a fake of its platform on localhost."""
