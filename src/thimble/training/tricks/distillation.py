"""Learn from a teacher: a larger, trained network, whose probabilities tell more about an image than its label does.

G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network" (2015, arXiv:1503.02531). As in L. Beyer
et al., "Knowledge distillation: A good teacher is patient and consistent" (2022, arXiv:2106.05237), the teacher
classifies every augmented and mixed image exactly as its student sees it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thimble.errors import UserError
from thimble.system.lazily import F, torch
from thimble.system.settings import (
    adopt,
    later,
    require,
    require_fraction,
    require_path,
    require_positive,
    require_types,
)

if TYPE_CHECKING:
    from thimble.data.dataset import ImageDataset


@dataclass(frozen=True)
class DistillationConfig:
    """Learn from a teacher, or from a teacher's stored predictions."""

    teacher: str | None = None
    """A trained model to learn from, in addition to the labels: a shipped model's name, a weights file or a run folder.
    It gets the same augmented images, at full size."""

    bank: Path | None = later(None, before=None)
    """A file from `thimble bank` to learn from, instead of a teacher: a teacher's predictions on several views of every
    image. The bank determines augmentation and mixing; only the end of `--mix-ramp` still applies: after it, views are
    not mixed."""

    teacher_weight: float = 0.9
    """Weight of the teacher's or the bank's predictions in the loss, 0..1; the labels get the rest."""

    temperature: float = 2.0
    """Divisor of both networks' logits when they are compared. Above 1, less probable classes count more."""

    def __post_init__(self) -> None:
        adopt(self)
        if self.teacher is not None and self.bank is not None:
            raise UserError("use --teacher or --bank, not both: a bank has its teacher's predictions")
        require(self, "teacher", lambda value: True, "a model's name or path")
        require_path(self, "bank")
        require_fraction(self, "teacher_weight")
        require_positive(self, "temperature")
        require_types(self)


PLACES = frozenset({"teacher", "bank"})
"""Settings that are paths: a resumed run may change them, as its state has the file's checksum and so refuses another
file."""


_CHANNELS = {1: "one channel (grey)", 3: "three channels (colour)"}


class Teacher:
    """A trained network in eval mode, whose weights stay fixed.

    Args:
        model: a shipped model's name, a weights file or a run folder.
        called: the argument's name, for error messages.

    Attributes:
        checksum: the weights file's SHA-256, in hexadecimal digits.

    Raises:
        UserError: there is no such model.
    """

    def __init__(self, model: str, called: str = "--teacher") -> None:
        from thimble.storage.find import load_described  # here, because it imports PyTorch

        self.name, self.called = model, called
        try:
            self.model, _, self.checksum = load_described(model)
        except UserError as error:
            raise UserError(f"{called} {model}: {error}") from error
        self.model.requires_grad_(False)

    def check(self, data: ImageDataset) -> None:
        """Check that the teacher fits the data.

        Raises:
            UserError: its channels, classes, mean or std are not the data's.
        """
        channels, found = self.model.input_size[0], data.images.shape[1]
        if channels != found:
            raise UserError(
                f"{self.called} {self.name} takes images of {_CHANNELS[channels]}: expected one for the images of"
                f" {data.name}, of {_CHANNELS[found]}"
            )
        if self.model.classes != data.classes:
            raise UserError(
                f"{self.called} {self.name} has the classes {', '.join(self.model.classes)}: expected the classes of"
                f" {data.name}, {', '.join(data.classes)}"
            )
        if (self.model.mean, self.model.std) != (data.mean, data.std):
            raise UserError(
                f"{self.called} {self.name} has mean {self.model.mean} and std {self.model.std}: expected those of"
                f" {data.name}, {data.mean} and {data.std}"
            )

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """The teacher's logits, float32 (N, num_classes), for the student's inputs."""
        with torch.no_grad():
            answers: torch.Tensor = self.model(inputs)
        return answers.float()


def divergence(logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """The Kullback-Leibler divergence of a student's probabilities from its teacher's, mean over the images, in nats.

    The temperature divides both networks' logits. The result is multiplied by its square, so that the gradient's size
    does not depend on it (Hinton et al., section 2).

    Args:
        logits, teacher_logits: float (N, num_classes).
        temperature: above 0.
    """
    student = F.log_softmax(logits.float() / temperature, dim=1)
    wanted = F.log_softmax(teacher_logits.float() / temperature, dim=1)
    return F.kl_div(student, wanted, reduction="batchmean", log_target=True) * temperature**2
