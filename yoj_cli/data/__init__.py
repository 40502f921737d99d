"""Public preference sets to training files: converted, counted, split, checked against benchmarks."""
