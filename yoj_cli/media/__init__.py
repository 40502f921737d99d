"""Files, addresses and pictures in memory to pixels."""
