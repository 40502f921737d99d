"""JSON lines to groups."""
