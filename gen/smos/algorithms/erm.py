"""Empirical risk minimisation, the baseline: cross-entropy on the images of all sources together."""

from gen.smos.algorithms.base import Algorithm, Batch, NoOptions, Terms


class ERM(Algorithm[NoOptions]):
    """L = mean cross-entropy. With equally many images per domain, also the mean over domains of their losses."""

    options_class = NoOptions

    @classmethod
    def describe(cls, options: NoOptions) -> str:
        """The loss in words."""
        return "cross-entropy"

    def terms(self, batch: Batch) -> Terms:
        """Cross-entropy."""
        return {"cross_entropy": batch.cross_entropy}
