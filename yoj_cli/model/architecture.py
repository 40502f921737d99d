"""Which architectures a judge can be made of: decoders whose every token is read from those before it.

transformers gives a model for much else under the same call, encoders and pairs of encoder and decoder. Of an encoder
the scores would depend on what is read beside a group, padding included, and nothing would fail.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from yoj_cli.errors import ModelError

HINT = "Take another base: a decoder of transformers with causal attention, such as Llama, Qwen3 or Mistral."


def check_decoder(model: Any, where: Path) -> None:
    """Refuse an architecture that is no causal decoder, or that is built of other parts than yoj works with.

    Args:
        model: transformers' model without a language-model head; on the meta device will do.
        where: its `config.json`, for errors.
    Raises:
        ModelError: it is one, with the reason.
    """
    config, text = model.config, model.config.get_text_config()
    causal = [getattr(module, "is_causal", True) for module in model.modules()]
    if getattr(config, "is_encoder_decoder", False):
        problem = "is an encoder with a decoder, and a judge is made of a decoder alone"
    elif False in causal or getattr(text, "is_causal", True) is False:
        problem = "attends to tokens in both directions (an encoder), and a judge is made of a causal decoder"
    elif not model._supports_sdpa or getattr(text, "attn_logit_softcapping", None):
        problem = (
            "computes attention in a way of its own, where yoj wants torch's scaled_dot_product_attention"
        )
    elif not any(isinstance(module, nn.Linear) for module in model.modules()):
        problem = "has no linear layer (torch.nn.Linear) that an adapter could be put on"
    else:
        return
    raise ModelError(f"the backbone ({config.model_type}) {problem}", where=str(where), hint=HINT)
