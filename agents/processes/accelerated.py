"""Several processes through Hugging Face accelerate, each with the whole model.

Gradients are added up once all of a minibatch's parts have been through backward, with an explicit sum. The wrapper of
torch's DDP, which does it from hooks while backward runs, wants one forward through the wrapper per backward and a
gradient for every parameter; here forwards run packed past `forward`, an algorithm's loss may evaluate the policy as
often as it likes, and one without a critic may be given a policy that has one.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather as accelerate_gather, pad_across_processes, reduce
from torch import Tensor

from textrl_env.agents.policy import ActorCriticLM
from textrl_env.agents.processes.alone import Processes
from textrl_env.agents.rollout import Rollout
from textrl_env.errors import InputError


class AcceleratedProcesses(Processes):
    """Processes that hold a copy of the whole model each.

    Args:
        accelerator: of this process.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.count, self.index = accelerator.num_processes, accelerator.process_index

    def prepare(self, policy: ActorCriticLM, optimizer: torch.optim.Optimizer) -> None:
        """Raises InputError unless all processes start with the same parameters."""
        self.require_same("the policy's parameters", parameter_sums(policy))

    def require_same(self, what: str, numbers: Mapping[str, float]) -> None:
        """Raises InputError, naming the numbers that differ, unless all processes have the same."""
        row = self._tensor(list(numbers.values()))[None]
        differs = (self.gather(row) != row).any(dim=0).tolist()
        if any(differs):
            names = ", ".join(name for name, differ in zip(numbers, differs, strict=True) if differ)
            raise InputError(
                f"{what} is not the same in all {self.count} processes ({names}); give them one seed, and folders that "
                "all of them see"
            )

    def gather_rollout(self, rollout: Rollout) -> Rollout:
        """Gathers the episodes of all processes, in their order, padded to one width."""
        parts = {field.name: getattr(rollout, field.name) for field in fields(rollout)}
        return Rollout(**{name: self._gather_part(name, part) for name, part in parts.items() if part is not None})

    def gather(self, rows: Tensor) -> Tensor:
        """Gathers the rows of all processes, in their order."""
        with self._together():
            result: Tensor = accelerate_gather(rows)
        return result

    def gather_states(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        """Gathers the states of all processes, in their order."""
        # As bytes of JSON: accelerate's own way for objects is pickle.
        text = torch.frombuffer(bytearray(json.dumps(state).encode()), dtype=torch.uint8).to(self.accelerator.device)
        lengths = self.gather(torch.tensor([len(text)], device=text.device)).tolist()
        with self._together():
            rows = self.gather(pad_across_processes(text)[None].to(text.dtype)).cpu().numpy()
        return [json.loads(row[:length].tobytes()) for row, length in zip(rows, lengths, strict=True)]

    def any_of(self, flag: bool) -> bool:
        """Returns True in all processes where the flag is True in at least one."""
        return bool(self._sum(self._tensor([float(flag)])).item())

    def sum(self, numbers: dict[str, float]) -> dict[str, float]:
        """Sums over the processes, by name."""
        return dict(zip(numbers, self._sum(self._tensor(list(numbers.values()))).tolist(), strict=True))

    def add_gradients(self, policy: ActorCriticLM) -> None:
        """Adds the gradients of all processes up, in groups of parameters."""
        gradients = [parameter.grad for parameter in policy.parameters() if parameter.grad is not None]
        for bucket in group_tensors(gradients):
            total = self._sum(torch.cat([gradient.flatten() for gradient in bucket]))
            sums = torch.split(total, [gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, sums, strict=True):
                gradient.copy_(part.view_as(gradient))

    def _gather_part(self, name: str, part: Tensor) -> Tensor:
        if part.dim() > 1:
            with self._together():
                # Prompts end, and completions begin, at one column.
                wide = pad_across_processes(part, dim=1, pad_first=name.startswith("prompt"))
            part = wide.to(part.dtype)
        return self.gather(part)

    def _sum(self, tensor: Tensor) -> Tensor:
        with self._together():
            result: Tensor = reduce(tensor, reduction="sum")
        return result

    def _tensor(self, numbers: list[float]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.float64, device=self.accelerator.device)

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Raises InputError where the other processes are gone."""
        try:
            yield
        except RuntimeError as error:
            # Without the line of torch's source in front, and the advice behind.
            reason = re.sub(r"^\[\S+\] ", "", str(error)).partition("\n")[0].partition(". ")[0]
            raise InputError(
                f"process {self.index + 1} of {self.count} lost the others ({reason}): one of them has ended, and its "
                "own message says why. Start all of them again, from the newest checkpoint"
            ) from error


def group_tensors(tensors: Sequence[Tensor], *, size: int = 2**20) -> Iterator[list[Tensor]]:
    """Groups neighbours, up to `size` elements: a small tensor costs as long to send as a bucket of them."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(map(Tensor.numel, bucket)) + tensor.numel() > size:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def parameter_sums(policy: ActorCriticLM) -> dict[str, float]:
    """Computes a number for each parameter: the exact sum of its bits, which one bit changes and an order does not."""
    bits = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return {
        # Below 2^52, so that it is exact in float64.
        name: float(parameter.detach().view(bits[parameter.element_size()]).sum(dtype=torch.int64) % 2**52)
        for name, parameter in policy.named_parameters()
    }
