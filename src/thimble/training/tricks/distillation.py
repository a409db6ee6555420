"""Learning from a teacher: a larger, trained network whose answers say more of an image than its label does.

G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network" (2015, arXiv:1503.02531), in the manner
of L. Beyer et al., "Knowledge distillation: A good teacher is patient and consistent" (2022, arXiv:2106.05237): the
teacher is asked anew about every augmented and mixed image that its student sees.
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
    """Learn from a teacher, or from the answers that it gave before."""

    teacher: str | None = None
    """A trained MODEL to learn from, beside the labels: a shipped model's name, a weights file or a run folder. It sees
    the same augmented images, at full size."""

    bank: Path | None = later(None, before=None)
    """A file of `thimble bank` to learn from, instead of a teacher: its answers to several views of every image. The
    views have the bank's augmentation and mixing; of the mixing settings only the end of `--mix-ramp` counts, after
    which no view is mixed."""

    teacher_weight: float = 0.9
    """Share of the loss, 0..1, that is the divergence from the answers of teacher or bank; the rest is the labels'."""

    temperature: float = 2.0
    """What both networks' logits are divided by, for that divergence: above 1, the less probable classes count more."""

    def __post_init__(self) -> None:
        adopt(self)
        if self.teacher is not None and self.bank is not None:
            raise UserError("use --teacher or --bank, not both: a bank holds its teacher's answers")
        require(self, "teacher", lambda value: True, "the name or the path of a model")
        require_path(self, "bank")
        require_fraction(self, "teacher_weight")
        require_positive(self, "temperature")
        require_types(self)


PLACES = frozenset({"teacher", "bank"})
"""Of these settings a run may change where the file lies. That it is the same file, its checksum says, which is kept in
the run's state."""


class Teacher:
    """A trained network in eval mode, which never learns.

    Args:
        model: a shipped model's name, a weights file or a run folder.
        called: what messages name it by.

    Attributes:
        checksum: the SHA-256 of its file, in hexadecimal digits.

    Raises:
        UserError: there is no such model.
    """

    def __init__(self, model: str, called: str = "--teacher") -> None:
        from thimble.storage.find import load_described  # it brings PyTorch

        self.name, self.called = model, called
        try:
            self.model, _, self.checksum = load_described(model)
        except UserError as error:
            raise UserError(f"{called} {model}: {error}") from error
        self.model.requires_grad_(False)

    def check(self, data: ImageDataset) -> None:
        """Refuse data that the teacher was not made for.

        Raises:
            UserError: its classes, or the normalisation of its images, are others.
        """
        if self.model.classes != data.classes:
            raise UserError(
                f"{self.called} {self.name} knows {', '.join(self.model.classes)}: expected the classes of {data.name},"
                f" {', '.join(data.classes)}"
            )
        if (self.model.mean, self.model.std) != (data.mean, data.std):
            raise UserError(
                f"{self.called} {self.name} has mean {self.model.mean} and std {self.model.std}: expected those of"
                f" {data.name}, {data.mean} and {data.std}"
            )

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """The teacher's answers, float32 (N, num_classes), to what the student is given."""
        with torch.no_grad():
            answers: torch.Tensor = self.model(inputs)
        return answers.float()


def divergence(logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """The Kullback-Leibler divergence of a student's answers from its teacher's, mean over the images, in nats.

    Both are softened by the temperature; the result is multiplied by its square, so that the gradient keeps its size
    (Hinton et al., section 2).

    Args:
        logits, teacher_logits: float (N, num_classes).
        temperature: above 0.
    """
    student = F.log_softmax(logits.float() / temperature, dim=1)
    wanted = F.log_softmax(teacher_logits.float() / temperature, dim=1)
    return F.kl_div(student, wanted, reduction="batchmean", log_target=True) * temperature**2
