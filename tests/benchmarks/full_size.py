"""Check and time a judge of full size with random weights: what it needs does not depend on their values.

    python tests/benchmarks/full_size.py CONFIG_FOLDER GROUPS.jsonl --device cpu --media-root DIR
    python tests/benchmarks/full_size.py CONFIG_FOLDER GROUPS.jsonl --device cuda --media-root DIR --quant 4bit --train

CONFIG_FOLDER holds a backbone's configuration, tokenizer and processor files (allenai/Molmo2-4B's, say) and no
weights. The last line of standard output is one JSON document; on a CUDA device it also compares the scores with
those of the CPU. --train also times `yoj train`, with and without gradient checkpointing, on the groups' first four
responses (ranked as they stand: time and memory do not depend on it).
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from yoj_cli import Judge
from yoj_cli.groups import Group
from yoj_cli.records.parse import read_groups

SHARD_BYTES = 1_000_000_000
SEPARATOR = "<|resp_sep|>"
HEAD_DIM = 1024
N_TRAINED = 4


def write_checkpoint(source: Path, folder: Path, seed: int) -> int:
    """Random bfloat16 weights in shards, never all in memory at once, in the merged format; returns n_parameters."""
    from transformers import AutoConfig, AutoModel, AutoProcessor

    config = AutoConfig.from_pretrained(source)
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in AutoModel.from_config(config).state_dict().items()}
    generator = torch.Generator().manual_seed(seed)
    shard: dict[str, torch.Tensor] = {}
    index: dict[str, str] = {}
    n_shards = n_bytes = n_parameters = 0

    def flush() -> None:
        nonlocal shard, n_shards, n_bytes
        name = f"model-{n_shards:05d}.safetensors"
        save_file(shard, folder / name, metadata={"format": "pt"})
        index.update(dict.fromkeys(shard, name))
        shard, n_bytes, n_shards = {}, 0, n_shards + 1

    for name, shape in shapes.items():
        weight = torch.empty(shape, dtype=torch.bfloat16)
        weight.fill_(1.0) if name.endswith("norm.weight") else weight.normal_(std=0.02, generator=generator)
        shard[name] = weight
        n_bytes += weight.nbytes
        n_parameters += weight.numel()
        if n_bytes > SHARD_BYTES:
            flush()
    flush()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    config.save_pretrained(folder)
    processor = AutoProcessor.from_pretrained(source)
    processor.tokenizer.add_special_tokens({"additional_special_tokens": [SEPARATOR]})
    processor.save_pretrained(folder)
    hidden = config.get_text_config().hidden_size
    head = torch.nn.Sequential(
        torch.nn.Linear(hidden, HEAD_DIM), torch.nn.SiLU(), torch.nn.Linear(HEAD_DIM, 1)
    )
    torch.save(head.state_dict(), folder / "value_head.pt")
    reward = {"value_head_type": "mlp", "value_head_hidden_dim": HEAD_DIM, "value_head_input_dim": hidden}
    (folder / "reward_model_config.json").write_text(json.dumps(reward))
    return n_parameters


def measure(folder: Path, device: str, quant: str, dtype: str, groups: list[Group]) -> dict[str, object]:
    """Load once, score every group, and say how long it took and how much memory it held."""
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    judge = Judge.load(str(folder), device=device, quant=quant, dtype=dtype)
    loaded_s = time.perf_counter() - started
    resolved = {key: judge.description[key] for key in ("quant", "dtype")}
    found: dict[str, object] = {"device": device, **resolved, "load_s": round(loaded_s, 1)}
    if not on_gpu:
        found["load_peak_bytes"] = peak_rss_bytes()
    if on_gpu:
        found["loaded_bytes"] = torch.cuda.memory_allocated()
    scored = []
    for group in groups:
        cpu_s = time.process_time()
        verdict = judge.score_group(group)
        scored.append(
            {
                "id": group.id,
                "n_responses": len(group.responses),
                "n_tokens": verdict.n_tokens,
                "forward_s": round(verdict.seconds, 3),
                "cpu_s": round(time.process_time() - cpu_s, 1),
                "scores": [round(score, 5) for score in verdict.scores],
            }
        )
        sys.stderr.write(
            f"{device} {resolved} {group.id}: {verdict.n_tokens} tokens, {verdict.seconds:.2f} s\n"
        )
    found["groups"] = scored
    found["peak_bytes"] = torch.cuda.max_memory_allocated() if on_gpu else peak_rss_bytes()
    return found


def peak_rss_bytes() -> int:
    """Largest resident memory of this process until now: of several runs, only the first one's own."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure_training(
    folder: Path,
    device: str,
    quant: str,
    groups: list[Group],
    media_root: Path | None,
    *,
    checkpointing: bool,
) -> dict[str, object]:
    """Train for two steps over all groups; the second step's figures, as the first one warms up."""
    from yoj_cli.config.train import TrainConfig
    from yoj_cli.train.metrics import METRICS, read_metrics
    from yoj_cli.train.prepare import prepare
    from yoj_cli.train.run import train

    with tempfile.TemporaryDirectory(prefix="yoj-train-") as work:
        data, out = Path(work) / "groups.jsonl", Path(work) / "out"
        records = [dict(group.record) for group in groups if len(group.responses) >= N_TRAINED]
        for record in records:
            record["responses"] = record["responses"][:N_TRAINED]
            record["rankings"] = list(range(1, N_TRAINED + 1))
        data.write_text("\n".join(json.dumps(record) for record in records))
        config = TrainConfig(
            base=str(folder),
            device="cuda" if device.startswith("cuda") else "cpu",
            quant=quant,  # type: ignore[arg-type]
            epochs=2,
            batch_size=len(records),
            gradient_checkpointing=checkpointing,
        )
        run = prepare([data], out, config, media_root=media_root)
        train(run)
        last = read_metrics(out / METRICS)[-1]
    found = {
        "quant": quant,
        "gradient_checkpointing": checkpointing,
        "longest_tokens": run.train_report.longest[0],
    }
    estimate = {"estimated_bytes": run.memory.total} if run.memory else {}
    figures = {name: last[name] for name in ("loss", "tokens_per_s", "peak_memory_bytes") if name in last}
    sys.stderr.write(f"training: {found | estimate | figures}\n")
    return found | estimate | figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("groups")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quant", nargs="+", default=["auto"])
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--limit", type=int, default=3)
    parser.add_argument("--media-root", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", action="store_true", help="also time training")
    parser.add_argument("--keep", type=Path, help="write the checkpoint here and leave it")
    args = parser.parse_args()
    groups = [
        item for item in read_groups(args.groups, media_root=args.media_root) if isinstance(item, Group)
    ][: args.limit]
    folder = args.keep or Path(tempfile.mkdtemp(prefix="yoj-full-size-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        report: dict[str, object] = {"torch": torch.__version__, "machine": platform.platform()}
        if not (folder / "reward_model_config.json").exists():
            report["n_parameters"] = write_checkpoint(args.config, folder, args.seed)
        report["runs"] = [measure(folder, args.device, quant, args.dtype, groups) for quant in args.quant]
        if args.train:
            report["training"] = [
                measure_training(
                    folder, args.device, quant, groups, args.media_root, checkpointing=checkpointing
                )
                for quant in args.quant
                for checkpointing in (True, False)
            ]
        if args.device.startswith("cuda"):
            report["gpu"] = torch.cuda.get_device_name()
            report["cpu"] = measure(folder, "cpu", args.quant[0], args.dtype, groups[:1])
        sys.stdout.write(json.dumps(report) + "\n")
    finally:
        if not args.keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
