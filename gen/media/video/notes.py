"""What an output lacks of its source, and what was wrong with the source."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Notes:
    """Each is said once."""

    left_out: list[str] = field(default_factory=list[str])
    """In a few words each."""
    warnings: list[str] = field(default_factory=list[str])
    """A sentence each."""

    def lack(self, words: str) -> None:
        """The output lacks something."""
        if words not in self.left_out:
            self.left_out.append(words)

    def warn(self, sentence: str) -> None:
        """Something was wrong, and is worked around."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)
