"""Training a judge: LoRA and a value head on a frozen, quantized backbone, one forward pass per group.

The way of one training step: `data` hands out a group with its sequence, `model` scores it (the scorer's own forward
path), `losses` compares the scores with the ranking, and `trainer` (a transformers Trainer) does the rest. `run` is
the front door; before the first step it has `validate_data` read everything once.
"""
