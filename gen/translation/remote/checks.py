"""Which outputs behind URLs may not be written, besides those that gen refuses on this machine too."""

from collections.abc import Sequence

from gen.errors import BadInput, BadSetting, GenError
from gen.media.folders import Job, stamp_of
from gen.translation.finished import OTHER_FOLDER, has_content
from gen.translation.outputs import outputs_of
from gen.translation.record import Record
from gen.translation.remote.inputs import Inputs
from gen.translation.remote.names import is_url
from gen.translation.remote.outputs import Outputs
from gen.translation.remote.store import Store
from gen.translation.settings import TranslateSettings


def output_root(inputs: Inputs, outputs: Outputs | None) -> str | None:
    """The output folder as the file system of the inputs names it; None if it is another one's."""
    return outputs.store.root if outputs is not None and inputs.store.fs == outputs.store.fs else None


def check_apart(jobs: Sequence[Job], settings: TranslateSettings, inputs: Inputs, outputs: Outputs) -> None:
    """Raises `BadInput` if an output would overwrite an input, or lie where the next run takes it for one."""
    out, root = output_root(inputs, outputs), f"{inputs.store.root}/"
    if out is None:
        return
    unread = inputs.single or out.startswith(root)  # the output folder itself may lie among the inputs
    sources = {inputs.store.at(job.source.relative_to(inputs.folder).as_posix()) for job in jobs}
    for path in (path for job in jobs for path in outputs_of(job, settings)):
        target = outputs.store.at(path.relative_to(outputs.folder).as_posix())
        if target in sources or (f"{out}/" == root and not inputs.single):
            raise BadInput(f"{path}: the output would overwrite an input; choose another output folder.")
        if target.startswith(root) and not unread:
            raise BadInput(f"{path}: the output would lie among the inputs; choose another output folder.")


def check_other_input(job: Job, record: Record) -> None:
    """As `finished.check_input`, where the other input is behind a URL. Raises `BadSetting`."""
    known, url = record.of(job.target), record.input_of(job.target)
    if known is None or url is None or not is_url(url) or not has_content(job.target):
        return
    if known.stamp is None or known.stamp == stamp_of(job.source):
        return
    try:
        other = Store.of(url).stamp("")
    except GenError:  # it cannot be looked at, as if it had been moved
        return
    if other == known.stamp:
        raise BadSetting(f"{job.target} was made of {url}, not {job.source}; {OTHER_FOLDER}")
