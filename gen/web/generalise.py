"""The part of the tab Domain shift that compares methods of domain generalisation on a visitor's data set."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr

from gen.errors import BadInput, BadSetting, GenError
from gen.smos.algorithms import registry
from gen.smos.benchmarks import find_benchmark
from gen.web.data_sets import count_domains, data_set_in
from gen.web.duration import duration
from gen.web.events import PRIVATE, image_output, readable_errors, server_folder
from gen.web.generalise_job import GAIN, OUT, TABLE, pictures, runs_of
from gen.web.job import Job
from gen.web.limits import check_number, inside
from gen.web.panel import JobPanel
from gen.web.service import Service, check_offered
from gen.web.uploads import gather

LEAST = 0.1
"""Fewest minutes of processor time of a run."""
SEEDS = 5
"""Most seeds."""
CHOSEN = ["erm", "miro", "smos"]
"""Methods that are chosen at first."""


class Generalise:
    """Leaves each domain out in turn, by several methods: `gen train-smos` as a job."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def build(self, page: gr.Blocks) -> None:
        """The data set on the left, methods and budget on the right, the job and its table below."""
        gr.Markdown(
            "Which training method is best on a domain that it has not seen? Each domain is left out in turn: a small "
            "network (EfficientNet-Lite0, 96 pixels) learns from the others and is measured on it. All runs take the "
            "same processor time. A data set has a folder for each domain, in it one for each class, and at least two "
            "of both: DOMAIN/CLASS/IMAGE."
        )
        limits = self.service.settings
        with gr.Row():
            with gr.Column(min_width=300):
                files = gr.File(label="A zip of the data set, or one of each domain", file_count="multiple", height=140)
                folder = gr.File(label="Or its folder", file_count="directory", height=140)
                server = server_folder("Or a data set on the server", limits)
            with gr.Column(min_width=300):
                minutes = gr.Slider(
                    LEAST,
                    limits.core_minutes,
                    min(5, limits.core_minutes),
                    step=0.1,
                    label="Processor time of a run, minutes",
                    info="Every run gets the same; SWAD may end one before",
                )
                seeds = gr.Slider(1, SEEDS, 1, step=1, label="Seeds", info="From two on, the table has intervals")
                button = gr.Button("Compare the methods", variant="primary")
                forecast = gr.Markdown(elem_classes="note")
        methods = gr.CheckboxGroup(
            [(f"{name}: {row.summary}", name) for name, row in registry.ALGORITHMS.items()],
            value=CHOSEN,
            label="Methods",
            info="With erm, the table has what the others gain over it",
        )
        panel = JobPanel(self.service, "generalise", lambda job: ", ".join(job.inputs.get("methods", [])))
        curve = image_output("The run that is going on", visible=False)
        table = gr.Markdown(elem_classes="tables")
        gain = image_output("Gain over ERM", visible=False)
        downloads = gr.File(
            label="Downloads: table, figure",
            file_count="multiple",
            interactive=False,
            visible=False,
            elem_classes="downloads",
        )
        chosen = [files, methods, minutes, seeds, server, folder]
        button.click(self.start, chosen, [panel.number], api_name="start_generalise")
        gr.on([each.change for each in chosen], self.forecast, chosen, [forecast], **PRIVATE)
        panel.connect(page, [curve, table, gain, downloads], self._show)

    @readable_errors
    def start(
        self,
        files: list[str] | None,
        methods: list[str] | None,
        minutes: float = 5,
        seeds: float = 1,
        server_folder: str = "",
        folder: list[str] | None = None,
    ) -> str:
        """Start to compare training methods on domains that are left out. Follow the job with /job.

        Args:
            files: a zip of DOMAIN/CLASS/IMAGE, or a zip of CLASS/IMAGE for each domain
            methods: names of algorithms of gen train-smos, for example erm, coral and smos
            minutes: processor time of each run, minutes
            seeds: number of seeds; each is a run more for each method and domain
            server_folder: a data set on the server instead of files, if the server shares a folder
            folder: the files of a folder, as the page sends them

        Returns:
            the number of the job
        """
        names, seeds = self._checked(methods, minutes, seeds)
        files, server_folder = [*(files or []), *(folder or [])], (server_folder or "").strip()
        if not files and not server_folder:
            raise BadInput("Choose a zip or a folder of DOMAIN/CLASS/IMAGE first.")
        source, problems = None, list[str]()
        if server_folder:
            source = inside(self.service.settings.root, server_folder)
        with self.service.new_job() as job_id:
            own = self.service.jobs.folder(job_id)
            if source is None:
                copied = own / "input" / "uploaded"
                problems = gather(files, copied, self.service.limits(), clips=False)[1]
                source = data_set_in(copied)
            runs = runs_of(source, own / OUT, names, minutes, seeds)
            if len(runs) > self.service.settings.runs:
                raise BadSetting(self._too_many(len(runs)))
            inputs = {"source": str(source), "methods": names, "minutes": minutes, "seeds": seeds, "runs": runs}
            self.service.jobs.submit("generalise", job_id, inputs, problems)
            return job_id

    def _checked(self, methods: list[str] | None, minutes: float, seeds: float) -> tuple[list[str], int]:
        """Names of methods without repetitions, and the number of seeds. Raises `BadInput` or `BadSetting`."""
        names = list(dict.fromkeys(methods or ()))
        if not names:
            raise BadSetting("Choose at least one method.")
        for name in names:
            check_offered(name, list(registry.ALGORITHMS))
        check_number("processor time of a run, in minutes,", minutes, LEAST, self.service.settings.core_minutes)
        return names, int(check_number("number of seeds", seeds, 1, SEEDS))

    @readable_errors
    def forecast(self, files: Any, methods: Any, minutes: float, seeds: float, server_folder: str, folder: Any) -> str:
        """How many runs there will be, and how long they will take."""
        with suppress(GenError):  # whoever starts it is told what is wrong
            names, count = self._checked(methods, minutes, seeds)
            if domains := self._domains([*(files or []), *(folder or [])], server_folder):
                runs = domains * len(names) * count
                factors = ((domains, "domain"), (len(names), "method"), (count, "seed"))
                text = " × ".join(f"{number} {word}{'s' * (number > 1)}" for number, word in factors)
                text += f" = {runs} run{'s' * (runs > 1)}"
                if runs > self.service.settings.runs:
                    return f"{text}. {self._too_many(runs)}"
                return f"{text} of {duration(60 * minutes)}: {_in_all(60 * minutes * runs)}"
        return ""

    def _domains(self, files: list[str], server_folder: str | None) -> int:
        """How many domains the data set has that is chosen."""
        if server_folder and server_folder.strip():
            return len(find_benchmark(inside(self.service.settings.root, server_folder))[1])
        return count_domains(files)

    def _too_many(self, runs: int) -> str:
        most = self.service.settings.runs
        return f"{runs} runs are too many, at most {most} are allowed; choose fewer methods or seeds."

    def _show(self, job: Job | None) -> list[Any]:
        """The curve while it runs; then the table, its figure and the files."""
        own = self.service.jobs.folder(job.id) if job else Path()
        curve = pictures(own)[-1:] if job and job.state == "running" else []
        files = self.service.result_files(job) if job and job.over else []
        gain = [file for file in files if file.endswith(Path(GAIN).name)]
        return [
            gr.update(value=str(curve[0]) if curve else None, visible=bool(curve)),
            _table(own / TABLE) if job and job.over else "",
            gr.update(value=gain[0] if gain else None, visible=bool(gain)),
            gr.update(value=files or None, visible=bool(files)),
        ]


def _in_all(seconds: float) -> str:
    processors = os.cpu_count() or 1
    return (
        f"{duration(seconds)} of processor time in all, at least {duration(seconds / processors)} on this server's "
        f"{processors} processors, and somewhat more to read and measure the images."
    )


def _table(path: Path) -> str:
    """The table without its picture, which the page shows by itself; "" if there is none, as of another kind of job."""
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    return "\n".join(line for line in lines if not line.startswith("!["))
