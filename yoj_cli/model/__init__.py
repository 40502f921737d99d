"""The network in memory: backbone, adapter, value head, attention, quantization."""
