"""Long runs while things break: killed, full disks, files that change, memory that runs out, stores that fail."""
