"""A group and a plan to token ids, positions and score positions."""
