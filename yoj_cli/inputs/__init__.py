"""From lines and files to groups and frames; nothing here imports torch."""
