"""Side effects of loading a model: the host program's logging, progress bars and random numbers stay as they were.

What libraries log and show while they load is of no use to our users: our own checks account for every weight. But a
logger's level and the hook for progress bars belong to the whole process, and so do the random numbers that new layers
are initialized from before their weights are read. All are restored.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

LOGGERS = ("transformers", "bitsandbytes")
"""bitsandbytes warns at import about a kernel that it does not need on a CPU."""

_loading = threading.RLock()
"""One load at a time: what is restored must be the host's, and transformers itself changes the default dtype."""


@contextmanager
def quietly() -> Iterator[None]:
    """Nothing less than an error is logged by the libraries, and this thread shows no progress bars of theirs.

    The host's levels and hook come back at the end, unless it has set others meanwhile.
    """
    from transformers.utils import logging as transformers_logging  # its own level is set by this import

    thread = threading.get_ident()
    with _loading:

        def hide(factory: Any, args: Any, kwargs: Any) -> Any:
            if threading.get_ident() == thread:
                return transformers_logging.EmptyTqdm(*args, **kwargs)
            return before(factory, args, kwargs) if before else factory(*args, **kwargs)

        before = transformers_logging.set_tqdm_hook(hide)
        loggers = [logging.getLogger(name) for name in LOGGERS]
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                if logger.level == logging.ERROR:
                    logger.setLevel(level)
            found = transformers_logging.set_tqdm_hook(before)
            if found is not hide:
                transformers_logging.set_tqdm_hook(found)


@contextmanager
def unsharded() -> Iterator[None]:
    """Every weight is loaded here, whatever the host told transformers about spreading its own model over processes.

    FSDP has processes other than the first load nothing, to be sent the weights later, and ZeRO-3 splits each weight;
    both are set for the whole process.
    """
    from transformers.integrations import deepspeed

    with _loading:
        name = "FSDP_CPU_RAM_EFFICIENT_LOADING"
        fsdp, zero = os.environ.get(name), deepspeed._hf_deepspeed_config_weak_ref
        try:
            deepspeed._hf_deepspeed_config_weak_ref = None
            if fsdp is not None:
                os.environ[name] = "false"
            yield
        finally:
            deepspeed._hf_deepspeed_config_weak_ref = zero
            if fsdp is not None:
                os.environ[name] = fsdp


@contextmanager
def keep_random_state() -> Iterator[None]:
    """Whatever is drawn inside, the host's next random number is what it would have been.

    Layers are drawn on the CPU and then filled; a GPU that the host has not used yet has no state to keep.
    """
    in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count())) if in_use else []):
        yield
