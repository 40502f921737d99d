"""Pairwise votes to rankings, and rankings to groups of N responses."""
