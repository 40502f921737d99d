"""Training a judge: LoRA and a value head on a frozen, quantized backbone, one forward pass per group.

One training step: `data` gives a group with its sequence, `model` scores it (by the scorer's own forward path),
`losses` compares the scores with the ranking, and `trainer` (a transformers Trainer) does the rest. `prepare` reads
everything once before the first step, `run` trains, and `finish` writes the checkpoint and its card.
"""
