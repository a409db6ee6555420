"""Learning from a teacher: a larger, trained network whose answers say more of an image than its label does.

G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network" (2015, arXiv:1503.02531), in the manner
of L. Beyer et al., "Knowledge distillation: A good teacher is patient and consistent" (2022, arXiv:2106.05237): the
teacher is asked anew about every augmented and mixed image that its student sees.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from thimble.data.dataset import ImageDataset
from thimble.errors import UserError
from thimble.storage.find import load_described


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

    @torch.no_grad()
    def logits(self, inputs: Tensor) -> Tensor:
        """The teacher's answers, float32 (N, num_classes), to what the student is given."""
        answers: Tensor = self.model(inputs)
        return answers.float()


def divergence(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
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
