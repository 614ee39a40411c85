"""Scores of an adapted generator: similarity to the references, structure, diversity, progress."""

import statistics
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gen.devices import pick_device
from gen.hda.attributes import ATTRIBUTES
from gen.hda.domains import parse_domains
from gen.hda.encoders import Encoder, load_encoder
from gen.hda.references import load_references
from gen.hda.settings import EvaluateSettings
from gen.hda.subspace import fit_subspace
from gen.metrics.distances import frechet_distance
from gen.metrics.edges import load_edges, structure_consistency
from gen.metrics.paired import load_perceptual

EDGE_IMAGES, EDGE_SIZE = 64, 128
"""Images and their smallest side for the edge detector. HED is a VGG-16: it takes longer than all other measures."""


class Scorer:
    """Scores images of one hybrid against its references, and against the source images of the same latents."""

    def __init__(self, s: EvaluateSettings, hybrid: str, source: Tensor) -> None:
        """`source` (B, 3, size, size) in [-1, 1]: the source images of the latents that are scored."""
        self.domains = parse_domains(tuple(hybrid.split(",")))
        self.device = device = pick_device(s.device)
        self.references = {
            d.name: load_references(d.folder, source.shape[-1]).images.to(device)
            for d in self.domains
            if d.folder is not None
        }
        self.judge = load_encoder(s.judge).to(device)
        self.trained = [load_encoder(name).to(device) for name in s.encoder]
        self.edges, self.perceptual = load_edges().to(device), load_perceptual().to(device)
        self.source = source.to(device)
        self.source_edges = self._edges(self.source)

    @torch.no_grad()
    def scores(self, images: Tensor) -> dict[str, float]:
        """Images (B, 3, size, size) in [-1, 1] of the same latents -> scores by name."""
        images = images.to(self.device)
        features = in_batches(self.judge, images)
        similarity = {
            f"similarity {name}": float((features @ self.judge(refs).T).mean())
            for name, refs in self.references.items()
        }
        scores = similarity | {"similarity, minimum": min(similarity.values())}
        scores["structure"] = float(structure_consistency(self.source_edges, self._edges(images)).mean())
        scores["diversity"] = self._diversity(images)
        scores |= {name: float(measure(images).mean()) for name, measure in ATTRIBUTES.items()}
        refs, *others = self.references.values()
        if not others and len(refs) > 1:  # the spread of a single image is not defined
            scores["Fréchet distance to the references"] = frechet_distance(features, self.judge(refs))
        return scores | self._progress(images)

    def _edges(self, images: Tensor) -> Tensor:
        """Edges of the first images, enlarged to at least 128 pixels: HED was trained on larger images."""
        some = images[:EDGE_IMAGES]
        if some.shape[-1] < EDGE_SIZE:
            some = F.interpolate(some, (EDGE_SIZE, EDGE_SIZE), mode="bilinear")
        return in_batches(self.edges, some)

    def _diversity(self, images: Tensor, most: int = 50) -> float:
        """Intra-cluster diversity (CDC, Ojha et al., CVPR 2021): mean perceptual distance within clusters of images.

        A cluster has the images that are nearest to the same reference, at most `most`. It is 0 if all images copy
        their reference.
        """
        encode = self.perceptual.vectors
        vectors = in_batches(encode, images)
        nearest = torch.cdist(vectors, in_batches(encode, torch.cat(list(self.references.values())))).argmin(1)
        members = [vectors[nearest == index][:most] for index in nearest.unique()]
        means = [float(F.pdist(m).square().mean()) for m in members if len(m) > 1]
        return statistics.fmean(means) if means else 0.0

    def _progress(self, images: Tensor) -> dict[str, float]:
        """Progress and geometry in the features of the encoders of the loss, on latents that training did not see.

        progress: 1 - |f* - f_t| / |f* - f_s| towards each domain. Of the movement D = f_t - f_s: leak, |B^T D| / |D|,
        its part inside the subspace; heading, its cosine with the perpendicular from f_s; cosine, that with the
        perpendicular from f_t, which the direction loss has.
        """
        shares: dict[str, list[float]] = {name: [] for name in self.references}
        geometry: dict[str, list[float]] = {"leak": [], "heading": [], "cosine": []}
        for encoder in self.trained:
            before, after = in_batches(encoder, self.source), in_batches(encoder, images)
            moved = after - before
            for name, refs in self.references.items():
                subspace = fit_subspace(encoder(refs)).to(dtype=torch.float32)
                shares[name].append(1 - float(subspace.distance(after).mean() / subspace.distance(before).mean()))
                inside = (moved @ subspace.basis).norm(dim=1) / moved.norm(dim=1).clamp_min(1e-9)
                geometry["leak"].append(float(inside.mean()))
                geometry["heading"].append(float(F.cosine_similarity(moved, subspace.perpendicular(before)).mean()))
                geometry["cosine"].append(float(F.cosine_similarity(moved, subspace.perpendicular(after)).mean()))
        progress = {f"progress {name}": statistics.fmean(values) for name, values in shares.items()}
        progress["progress"] = statistics.fmean(progress.values())
        return progress | {name: statistics.fmean(values) for name, values in geometry.items()}


def in_batches(function: Encoder | Any, images: Tensor) -> Tensor:
    """`function` of all images, 8 at a time: on a CPU, larger batches cost more to allocate than to compute."""
    with torch.no_grad():
        return torch.cat([function(part) for part in images.split(8)])
