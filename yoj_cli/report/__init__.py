"""Verdicts as one self-contained page for people who would rather look."""
