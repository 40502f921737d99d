"""The training loop: transformers' Trainer, told what a batch is, how it is scored, and how it is saved."""

from __future__ import annotations

import shutil
import sys
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
from yoj_cli.errors import ModelError, UsageError
from yoj_cli.groups import Group
from yoj_cli.media.options import MediaOptions
from yoj_cli.scoring.engine import BATCH_TOKENS, Engine
from yoj_cli.scoring.oom import Limits
from yoj_cli.sequence.build import SequenceBuilder
from yoj_cli.train.data import Example, Examples
from yoj_cli.train.evaluation import evaluate, summarize
from yoj_cli.train.losses import LOSSES
from yoj_cli.train.model import RewardModel
from yoj_cli.train.optimizer import build_optimizer, build_scheduler
from yoj_cli.train.order import BalancedOrder
from yoj_cli.train.passes import Seen, StepGradients
from yoj_cli.train.starting_point import base_name

UNFINISHED = ".unfinished"
CANNOT_WRITE = (OSError, RuntimeError, SafetensorError)
"""What Python, torch and safetensors say when the disk is full."""


def build_arguments(config: TrainConfig, out: Path, dtype: torch.dtype, *, is_cpu: bool) -> TrainingArguments:
    """The recipe in the Trainer's words. It hands over one group at a time; `GroupTrainer` reads them together."""
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
    """Trains on groups, several to a pass, and saves checkpoints that `yoj score` reads.

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
        self._gradients = StepGradients(
            forward=model,
            loss=LOSSES[config.resolved_loss],
            backward=lambda loss: self.accelerator.backward(loss),
            forget=self._forget_step,
            limits=Limits(
                config.micro_batch_tokens or BATCH_TOKENS[model.backbone.device.type],
                max_tokens_per_forward=sys.maxsize,  # a KV cache would have to be kept for the backward pass
            ),
        )
        self._waiting: list[Future[Example]] = []
        self._seen: list[Seen] = []
        self._saving_aside = False
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=self.examples,
            data_collator=_only_one,
            callbacks=callbacks,
        )
        self.remove_callback(PrinterCallback)  # it prints to standard output

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
        """Collect the groups of an optimizer step; with its last one, read them and add up their gradients.

        The wrapper for several processes is passed by: each adds up its own gradients in as many passes as its groups
        need, and they are added up once. So a process that has to begin its step again keeps the others waiting, and
        no more.

        Returns:
            () this process's part of the mean loss of the step's groups, times the number of processes, over which the
            Trainer takes a mean; 0 for all but the last.
        Raises:
            YojError: see `StepGradients.add`.
        """
        self._waiting.append(inputs["example"])
        if not self.accelerator.sync_gradients:
            return torch.zeros((), device=self.args.device)
        waiting, self._waiting = self._waiting[: len(self._waiting) - self._is_filled_up()], []
        n_groups = self._sum_over_processes(torch.tensor(len(waiting), device=self.args.device))
        self._reward_model.train()
        with self.compute_loss_context_manager():
            seen = self._gradients.add(waiting, int(n_groups))
        if self.args.world_size > 1:
            self._add_gradients()
        self._seen += seen
        loss = sum(each.loss for each in seen) * self.args.world_size / int(n_groups)
        return torch.tensor(loss, device=self.args.device)

    def _is_filled_up(self) -> bool:
        """Whether this process's last group is one that another has read, given so that all get equally many."""
        n_left_over = len(self.examples) % self.args.world_size
        is_end = self.accelerator.gradient_state.end_of_dataloader
        return bool(is_end and n_left_over and self.args.process_index >= n_left_over)

    def _sum_over_processes(self, value: Tensor) -> Tensor:
        if self.args.world_size > 1:
            torch.distributed.all_reduce(value)
        return value

    def _add_gradients(self) -> None:
        for parameter in self._reward_model.parameters():
            if parameter.requires_grad:
                if parameter.grad is None:  # of a process that had no group of its own
                    parameter.grad = torch.zeros_like(parameter)
                self._sum_over_processes(parameter.grad)

    def _forget_step(self) -> None:
        self._reward_model.zero_grad(set_to_none=True)
        if self.args.device.type == "cuda":
            torch.cuda.empty_cache()

    @property
    def limits(self) -> Limits:
        """Tokens of a pass, which shrink where memory runs out."""
        return self._gradients.limits

    def take_seen(self) -> list[Seen]:
        """What was seen of each group since the last call, in this process."""
        seen, self._seen = self._seen, []
        return seen

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Evaluate on the held-out groups, each process on its share, and log the result."""
        from accelerate.utils import gather_object

        self.model.eval()
        share = self.held_out[self.args.process_index :: self.args.world_size]
        outcomes = evaluate(
            Engine(self._reward_model.backbone, self._reward_model.head),
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
            self._reward_model.save(folder, base_name(self.config, final))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self._reward_model.restore(Path(resume_from_checkpoint))

    @property
    def _reward_model(self) -> RewardModel:
        assert isinstance(self.model, RewardModel)
        return self.model


def _only_one(items: list[Future[Example]]) -> dict[str, Future[Example]]:
    return {"example": items[0]}
