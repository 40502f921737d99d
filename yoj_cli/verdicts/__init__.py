"""Scores to ranks, agreement and output lines."""
