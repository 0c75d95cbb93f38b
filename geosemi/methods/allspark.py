"""AllSpark (Wang et al., CVPR 2024, arXiv 2403.01818): labelled features reborn from unlabelled ones."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from geosemi.data.batch import Batch, Unlabelled
from geosemi.methods.base import Method, Progress
from geosemi.methods.losses import consistency, cross_entropy, ramp_up
from geosemi.methods.perturb import draws, require_features
from geosemi.methods.pseudo import Beliefs, Pseudo
from geosemi.methods.settings import AllSparkSettings
from geosemi.models.channels import ChannelAttention, SparkSegmenter
from geosemi.models.segmenter import Segmenter


class AllSpark(Method):
    """L = (L_x + L_u) / 2; before they are decoded, the deepest maps pass through attention among channels.

    Those of unlabelled crops attend to themselves; those of labelled crops are rebuilt from the channels of all
    unlabelled crops, later from a memory of such channels, class by class. So truth teaches the network to see what it
    knows in what it does not. The student labels the weak views itself, in eval mode; there is no threshold.

    With several ranks, all attend to the memory of the first, as torch hands out its buffers before every step.
    """

    strong_views = 0

    def __init__(self, student: Segmenter, settings: AllSparkSettings) -> None:
        require_features(student, settings.name, does="rebuilds")
        super().__init__()
        width = student.widths[-1]
        self.student = SparkSegmenter(student)
        self.among = ChannelAttention(width, width=2 * width, heads=2)
        self.memory = ChannelMemory(student.classes, width)
        self._settings = settings

    def forward(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Return `supervised` and `consistency`."""
        x, u = batch.labelled, self.require_unlabelled(batch)
        said = self._said(u)
        target = self.noted(self.hear(Pseudo.from_logits(said, u.valid, threshold=0), u))
        *features, deep = self.student.core.features(torch.cat([x.image, u.weak]))
        tokens, normed = self.student.spark.tokens(deep)
        of_x, of_u = torch.split(normed, [len(x.image), len(u.weak)])
        self.memory.remember(of_u.detach(), *self._padded(said, u.valid), size=deep.shape)
        generator = draws("allspark", u, progress)
        late = progress.fraction >= self._settings.memory_from
        told = self.memory.maps().to(of_u) if late else of_u
        found = [self.student.spark.attend(of_x, told[None], generator), self.among(of_u, of_u[:, None], generator)]
        features.append(self.student.spark.map_(tokens, torch.cat(found), deep.shape))
        logits = self.student.core.logits(features, (u.weak.shape[-2], u.weak.shape[-1]))
        on_x, on_u = torch.split(logits, [len(x.image), len(u.weak)])
        weight = ramp_up(progress.fraction / self._settings.warm_up) if self._settings.warm_up else 1.0
        return {"supervised": cross_entropy(on_x, x.label) / 2, "consistency": weight * consistency(on_u, target) / 2}

    @torch.no_grad()
    def _said(self, crops: Unlabelled) -> Tensor:
        training = self.student.training
        logits: Tensor = self.student.eval()(crops.weak)
        self.student.train(training)
        return logits.float()

    def _padded(self, logits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and validity of the padded image that the maps are of; padding is not valid."""
        height, width = valid.shape[-2:]
        rim = (0, -width % self.student.stride, 0, -height % self.student.stride)
        return F.pad(logits, rim), F.pad(valid, rim)

    def beliefs(self, crops: Unlabelled) -> Beliefs:
        """Return what the student says of weak views in eval mode; all valid pixels are trusted."""
        return self.hear(Pseudo.from_logits(self._said(crops), crops.valid, threshold=0), crops)

    def predictor(self) -> Segmenter:
        """Return the student, whose deepest map is rebuilt from itself."""
        return self.student


class ChannelMemory(nn.Module):
    """Channels of unlabelled maps, grouped by the class that they look most like: C of each class, oldest out first.

    Its room for positions is that of the first maps it sees, and starts anew with maps of another size.

    Args:
        classes: K.
        channels: C.
    """

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.kept: Tensor
        self.place: Tensor
        self.register_buffer("kept", torch.zeros(classes, channels, 0))
        self.register_buffer("place", torch.zeros(classes, dtype=torch.int64))  # where the next channel goes

    def maps(self) -> Tensor:
        """Return what is remembered of each class as a map, (K, N, C); places still empty are 0."""
        return self.kept.transpose(1, 2)

    @torch.no_grad()
    def remember(self, tokens: Tensor, logits: Tensor, valid: Tensor, *, size: torch.Size) -> None:
        """Put each channel of each image in place of the oldest of its class, in order.

        A channel's class is the one whose map of logits it is most parallel to, over valid positions.

        Args:
            tokens: (B, N, C).
            logits: (B, K, H, W), of the same images.
            valid: (B, H, W) bool; half of a position decides.
            size: (…, h, w) of the tokens' map, h · w = N.
        """
        if self.kept.shape[2] != tokens.shape[1]:
            self.kept = self.kept.new_zeros(*self.kept.shape[:2], tokens.shape[1])
            self.place.zero_()
        shown = F.interpolate(logits, size[-2:], mode="bilinear", align_corners=False).flatten(2)
        known = F.interpolate(valid[:, None].float(), size[-2:], mode="area").flatten(2) >= 1 / 2
        like = channel_classes(tokens.float(), shown, known)
        self._append(tokens.float().transpose(1, 2).flatten(0, 1), like.flatten())

    def _append(self, vectors: Tensor, classes: Tensor) -> None:
        room = self.kept.shape[1]
        member = F.one_hot(classes, len(self.kept))
        count = member.sum(dim=0)
        rank = (member.cumsum(dim=0) - 1).gather(1, classes[:, None])[:, 0]
        lasts = rank >= (count - room)[classes]  # of more than there is room for, the last stay
        slot = classes * room + (self.place[classes] + rank) % room
        self.kept.view(-1, self.kept.shape[2])[slot[lasts]] = vectors[lasts]
        self.place.copy_((self.place + count) % room)

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: object) -> None:
        # a memory that has seen maps is loaded into one that has not
        if (saved := state.get(prefix + "kept")) is not None and saved.shape[:2] == self.kept.shape[:2]:
            self.kept = self.kept.new_empty(saved.shape)
        super()._load_from_state_dict(state, prefix, *rest)


def channel_classes(tokens: Tensor, shown: Tensor, known: Tensor) -> Tensor:
    """Return (B, C) int64: to which class's map each channel is most parallel, by the cosine over known positions.

    Args:
        tokens: (B, N, C).
        shown: (B, K, N), logits.
        known: (B, 1, N) bool.
    """
    alike = F.normalize(shown * known, dim=2) @ F.normalize(tokens * known.transpose(1, 2), dim=1)
    return alike.argmax(dim=1)
