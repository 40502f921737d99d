"""Checkpoints on disk and on the Hub: found, read, saved, merged, quantized."""
