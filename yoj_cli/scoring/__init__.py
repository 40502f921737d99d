"""The one forward path, and what keeps the device busy."""
