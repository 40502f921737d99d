"""From scores to ranks and text; nothing here imports torch."""
