"""Files of earlier translations that a new one has made wrong: they would pass for something that they are not."""

import os
from pathlib import Path

from gen.media.files import fit_name
from gen.media.folders import SIDES, Job, side_files
from gen.media.mark import read_header
from gen.translation.finished import is_another
from gen.translation.made_with import same_text
from gen.translation.outputs import is_single
from gen.translation.record import Record
from gen.translation.report import Entry, Report
from gen.translation.settings import TranslateSettings
from gen.translation.watch import Watch


class Leftovers:
    """Removes them, once the new translation is there."""

    def __init__(self, settings: TranslateSettings, record: Record, report: Report, watch: Watch) -> None:
        self.settings, self.record, self.report, self.watch = settings, record, report, watch
        self.removed: list[Path] = []
        """Maps and comparisons that other settings had left beside translations that are new."""

    def remove_sides(self, entry: Entry) -> None:
        """Remove the files beside the translation that are not of it, but of the one that it replaces."""
        job = Job(Path(entry.input), Path(entry.output), entry.kind)
        known = side_files(job, self.record.sides_of(job.target))
        for path in set(side_files(job, SIDES)) - set(side_files(job, entry.sides)):
            if path not in known and read_header(path).mark is None:  # where the record is silent, the mark speaks
                continue
            if not self._is_translation(path) and self.remove(path):
                self.removed.append(path)

    def remove(self, path: Path) -> bool:
        """Remove a file of an earlier translation; whether that worked."""
        try:
            path.unlink()
        except OSError:
            return False
        self.watch.removed(path)
        return True

    def remove_old_name(self, entry: Entry) -> None:
        """Remove what this input left under the name that it had until another input came that wants the same one.

        Else OUT/a.png, of a.gif, would pass for the translation of the a.png that came later; see `plan_jobs`.
        """
        source, target = Path(entry.input), Path(entry.output)
        old = Job(source, target.with_name(fit_name(source.stem, target.suffix)), entry.kind)
        if is_single(self.settings) or target.name != fit_name(source.name, target.suffix):
            return
        if old.target.name == source.name or not old.target.is_file():  # the input's own name misleads nobody
            return
        known = self.record.of(old.target)
        if known is None or known.input is None or is_another(old.target, known):
            return
        same = same_text(known.made_with, entry.made_with)  # else only `overwrite` may remove it
        if (same or self.settings.overwrite) and os.path.realpath(known.input) == os.path.realpath(source):
            beside = (path for path in side_files(old, known.sides or ()) if not self._is_translation(path))
            for path in (old.target, *beside):
                self.remove(path)
            self.report.drop(old.target)

    def sentence(self) -> str:
        """The report's warning on `removed`, which is not empty."""
        what = "that earlier settings had left beside translations, such as maps"
        if len(self.removed) == 1:
            return f"1 file {what}, was removed: {self.removed[0]}."
        return f"{len(self.removed)} files {what}, were removed, for example {self.removed[0]}."

    def _is_translation(self, path: Path) -> bool:
        """Whether what has the name of a file beside a translation is that of an input with such a name."""
        return self.record.of(path) is not None or self.report.lists(path)
