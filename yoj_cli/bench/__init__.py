"""Measurements: what one pass over a whole group saves, beside what one would do without it.

speed (the front door) -> groups (what is read) -> variants (the ways to read it) -> measure (in turn, synchronized)
     -> flops (what a way costs by formula) -> report -> plot
"""
