"""How good a judge is: benchmarks, metrics, statistics; only `evaluate/score.py` needs a judge, and with it torch."""
