"""Measurements: what one pass over a whole group saves, beside what one would do without it.

speed (the entry point) -> groups or random_ids (what is read, as cases) -> variants (the ways to read it)
     -> measure (in turn, synchronized) -> flops (what a way costs by formula) -> report -> tables, plot
"""
