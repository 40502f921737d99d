"""The training loop: transformers' Trainer, told what a batch is, how it is scored, and how it is saved."""

from __future__ import annotations

import shutil
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint, rotate_checkpoints

from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import ModelError, OutOfMemoryError, UsageError
from yoj_cli.groups import Group
from yoj_cli.media.options import MediaOptions
from yoj_cli.model.device import translate_oom
from yoj_cli.sequence.build import SequenceBuilder
from yoj_cli.train.data import Example, Examples
from yoj_cli.train.evaluation import evaluate, summarize
from yoj_cli.train.losses import LOSSES
from yoj_cli.train.model import RewardModel, base_name
from yoj_cli.train.optimizer import build_optimizer, build_scheduler
from yoj_cli.train.order import BalancedOrder
from yoj_cli.verdicts.agreement import agreement

UNFINISHED = ".unfinished"
OUT_OF_MEMORY = (
    "Use --gradient-checkpointing, --quant 4bit, a lower --max-tokens with --on-long skip, fewer --max-frames or a "
    "smaller --lora-r; --resume goes on from the last saved state."
)
CANNOT_WRITE = (OSError, RuntimeError, SafetensorError)
"""What Python, torch and safetensors say when the disk is full."""


def build_arguments(config: TrainConfig, out: Path, dtype: torch.dtype, *, is_cpu: bool) -> TrainingArguments:
    """The recipe in the Trainer's words. A batch is one group; gradients of `batch_size` groups are added up."""
    arguments = TrainingArguments(
        output_dir=str(out),
        use_cpu=is_cpu,
        bf16=dtype == torch.bfloat16,
        fp16=dtype == torch.float16,
        num_train_epochs=config.epochs,
        per_device_train_batch_size=1,
        learning_rate=config.learning_rate,
        max_grad_norm=config.max_grad_norm,
        seed=config.seed,
        data_seed=config.resolved_order_seed,
        eval_strategy="no",  # when to evaluate and save is `callbacks.SaveEvalCallback`'s
        save_strategy="no",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=list(config.reports),
        run_name=config.wandb_run_name or out.name,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several GPUs are several processes, never DataParallel
    if config.batch_size % arguments.world_size:
        raise UsageError(
            f"{config.batch_size} groups cannot be shared by {arguments.world_size} processes",
            where="--batch-size",
        )
    arguments.gradient_accumulation_steps = config.batch_size // arguments.world_size
    return arguments


class GroupTrainer(Trainer):  # type: ignore[misc]
    """Trains on one group after the other, and saves checkpoints that `yoj score` reads.

    Args:
        builder, held_out_builder: turn a group into a sequence, for training and as the judge will score.
        groups: what is trained on.
        held_out: groups to evaluate on.
        media: the limits of media.
    """

    control: Any
    optimizer: Any
    lr_scheduler: Any

    def __init__(
        self,
        model: RewardModel,
        arguments: TrainingArguments,
        config: TrainConfig,
        *,
        builder: SequenceBuilder,
        held_out_builder: SequenceBuilder,
        groups: list[Group],
        held_out: list[Group],
        media: MediaOptions,
        callbacks: list[Any],
    ) -> None:
        self.config = config
        self.held_out_builder, self.held_out, self.media = held_out_builder, held_out, media
        self.examples = Examples(
            groups,
            builder,
            media,
            config.mode,
            config.resolved_order_seed if config.shuffle_responses else None,
        )
        self._loss = LOSSES[config.resolved_loss]
        self._seen: list[tuple[float, int]] = []
        self._saving_aside = False
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=self.examples,
            data_collator=_only_one,
            callbacks=callbacks,
        )
        self.remove_callback(PrinterCallback)  # it prints to standard output

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Future[Example]],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The loss of one group; see `losses`.

        Raises:
            InputError: the group cannot be read, or built into a sequence.
            ModelError: the loss is no number.
        """
        example = inputs["example"].result()
        rankings = example.group.rankings or ()
        scores = torch.cat(model(example.sequence))
        near = scores.cpu()  # the one wait for the device: the loss of a few numbers is no work for it
        loss = self._loss(near, torch.tensor(rankings))
        if not torch.isfinite(loss):
            raise ModelError(
                f"the loss is {loss.item()}",
                where=example.group.where,
                hint=f"Group {example.group.id!r}. Lower --learning-rate, or go on from an earlier saved state.",
            )
        hit = agreement(near.tolist(), rankings).best
        self._seen.append((hit or 0.0, example.sequence.n_tokens))
        loss = loss.to(scores.device)
        return (loss, scores) if return_outputs else loss

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if self.config.group_order == "file":
            return SequentialSampler(self.examples)
        if self.config.group_order == "balanced":
            examples = self.examples
            return BalancedOrder(examples.groups, self.config.resolved_order_seed, lambda: examples.epoch)
        return super()._get_train_sampler(train_dataset)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The recipe's; see `build_optimizer`."""
        if self.optimizer is None:
            self.optimizer = build_optimizer(self.model if model is None else model, self.config)
        optimizer: torch.optim.Optimizer = self.optimizer
        return optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The recipe's; see `build_scheduler`."""
        if self.lr_scheduler is None:
            self.lr_scheduler = build_scheduler(optimizer or self.optimizer, self.config, num_training_steps)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def training_step(self, model: torch.nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """A group's forward and backward pass.

        Raises:
            OutOfMemoryError: the device has no room for it.
        """
        example = inputs["example"]

        def build() -> OutOfMemoryError:
            return OutOfMemoryError(
                f"out of memory on a group of {example.result().sequence.n_tokens} tokens",
                where=example.result().group.where,
                hint=OUT_OF_MEMORY,
            )

        try:
            with translate_oom(build):
                loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
                return loss
        except OutOfMemoryError as error:  # the forward pass has named it in the scorer's words
            raise build() from error

    def take_seen(self) -> list[tuple[float, int]]:
        """(hit, tokens) of each group since the last call, over this process."""
        seen, self._seen = self._seen, []
        return seen

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Evaluate on the held-out groups, each process on its share, and log the result."""
        from accelerate.utils import gather_object

        self.model.eval()
        share = self.held_out[self.args.process_index :: self.args.world_size]
        outcomes = evaluate(
            self.model,
            self.held_out_builder,
            share,
            self.media,
            mode=self.config.mode,
            loss=self.config.resolved_loss,
        )
        metrics = summarize(gather_object(outcomes))
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._out / UNFINISHED) if self._saving_aside else str(self._out)

    @property
    def _out(self) -> Path:
        return Path(self.args.output_dir)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Write aside, then rename: a full disk or a kill leaves the earlier states as they were."""
        name = f"checkpoint-{self.state.global_step}"
        aside, final = self._out / UNFINISHED / name, self._out / name
        self._saving_aside = True
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                shutil.rmtree(final, ignore_errors=True)
                aside.rename(final)
        except CANNOT_WRITE as error:
            raise ModelError(
                f"the state of the training cannot be saved ({str(error).splitlines()[0]})",
                where=str(self._out),
                hint=self._way_on(),
            ) from error
        finally:
            self._saving_aside = False
            if self.args.should_save:
                shutil.rmtree(aside.parent, ignore_errors=True)
        if self.args.should_save:
            rotate_checkpoints(output_dir=str(self._out), save_total_limit=self.config.keep, use_mtime=False)

    def _way_on(self) -> str:
        """What to do about a state that could not be saved; --resume needs an earlier one."""
        if get_last_checkpoint(str(self._out)):
            return "Make room and go on with --resume; states saved earlier are as they were."
        return "Make room and start again; no earlier state is saved."

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self._out)
        if self.args.should_save:
            folder.mkdir(parents=True, exist_ok=True)
            final = self._out / folder.name
            self._reward_model.save(folder, base_name(self.config, final, self._out))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self._reward_model.restore(Path(resume_from_checkpoint))

    @property
    def _reward_model(self) -> RewardModel:
        assert isinstance(self.model, RewardModel)
        return self.model


def _only_one(items: list[Future[Example]]) -> dict[str, Future[Example]]:
    return {"example": items[0]}
