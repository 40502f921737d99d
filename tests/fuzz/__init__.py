"""Input that nobody would write, made at random: `python -m tests.fuzz`."""
