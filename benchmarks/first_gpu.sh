#!/bin/bash
# The first half hour on a CUDA GPU: what no other machine can show. Each line has two minutes, prints its time and what
# is expected, and goes on after a failure.
#
#   benchmarks/first_gpu.sh OUT [DEVICE]
#
# Expected figures were computed from the operations and bytes of each step for one H100; docs/gpu.md has those that were
# measured.
# DEVICE=cpu with PRESET=tiny IMAGES=16 FACES=32 STEPS=11 tries the script itself. ONLY="generator adapt" runs these lines alone.
set -u
OUT=${1:?give a folder for the results}
DEVICE=${2:-cuda}
PRESET=${PRESET:-bdd}
IMAGES=${IMAGES:-1200}
ONLY=${ONLY:-}
PYTHON=${PYTHON:-python}
mkdir -p "$OUT"
cd "$(dirname "$0")/.." || exit 1

run() { # NAME EXPECTED COMMAND...
  local name=$1 expected=$2 began=$SECONDS code=0
  shift 2
  [[ -z $ONLY || " $ONLY " == *" $name "* ]] || return 0
  timeout --kill-after=30 120 "$@" >"$OUT/$name.log" 2>&1 || code=$?
  printf '%-18s exit %-3s %4d s  expected: %s\n' "$name" "$code" $((SECONDS - began)) "$expected" | tee -a "$OUT/summary.txt"
  grep -E ' a second|images/s|frames/s|ms|Error|error' "$OUT/$name.log" | tail -3 | tee -a "$OUT/summary.txt"
}
gen() { echo "$PYTHON -P -m gen.cli $*"; }
both() { echo "$PYTHON -m torch.distributed.run --nproc-per-node 2 -m gen.cli $*"; }

DATA="--adverse $OUT/streets/adverse/night --normal $OUT/streets/day"
AUGAN="train-augan $DATA --preset $PRESET --set images=$IMAGES device=$DEVICE log_every=100 checkpoint_every=600"

run machine "a GPU with bf16" $(gen doctor)
run street_gpu "the pictures of street_cpu" $(gen render-street "$OUT/streets" --weather night --frames 32 --device "$DEVICE")
run street_cpu "slower than street_gpu" $(gen render-street "$OUT/streets_cpu" --weather night --frames 4 --device cpu)
run street_same "no picture differs by more than JPEG does" "$PYTHON" -c "
import sys, pathlib, numpy as np
from PIL import Image
paths = sorted(pathlib.Path('$OUT/streets_cpu').rglob('*.jpg'))
assert paths, 'street_cpu drew nothing'
for path in paths:
    one, other = (np.asarray(Image.open(p), float) for p in (path, pathlib.Path('$OUT/streets') / path.relative_to('$OUT/streets_cpu')))
    print(path.name, 'mean difference', np.abs(one - other).mean())
    assert np.abs(one - other).mean() < 1
"
run generator "bf16 channels-last fastest" "$PYTHON" benchmarks/generator.py --device "$DEVICE" --size 1280x720
run generator_compiled "faster than generator" "$PYTHON" benchmarks/generator.py --device "$DEVICE" --size 1280x720 --compile
step() { echo "$PYTHON -P -m benchmarks.augan_step $OUT/streets/adverse/night $OUT/streets/day --preset $PRESET --device $DEVICE"; }
run step "40 to 47 pairs a second on an H100; 30 on an H200" $(step) --kernels 20
run step_compiled "75 to 80 pairs a second" $(step) --compile
run augan_eager "40 to 47 pairs a second on an H100" $(gen $AUGAN --set compile=false --out "$OUT/eager")
run augan_resume "resumes at the end at once" $(gen $AUGAN --set compile=false --out "$OUT/eager")
run augan_compiled "75 to 80 pairs a second; no recompilation after the first minute" \
  env TORCH_LOGS=recompiles $(gen $AUGAN --set compile=true --out "$OUT/compiled")
run augan_two "as augan_eager on each GPU, or an error that names the missing GPU" $(both $AUGAN --set compile=false --out "$OUT/two")
run stylegan2_step "238 images a second on an H200; the kernels say why no more" "$PYTHON" -P -m benchmarks.stylegan2_step \
  "$OUT/streets/day" --device "$DEVICE" --kernels 20
run blur "folded or slices faster than depthwise" "$PYTHON" -P -m benchmarks.blur --device "$DEVICE"
run stylegan2 "no slower beside other work" \
  $(gen train-stylegan2 --data "$OUT/streets/day" --preset config-f --set images=${FACES:-3200} size=64 device="$DEVICE" distance_images=0 \
    --out "$OUT/stylegan2")
run stylegan2_two "as augan_two" $(both train-stylegan2 --data "$OUT/streets/day" --preset config-f --set images=${FACES:-3200} size=64 \
  device="$DEVICE" distance_images=0 --out "$OUT/stylegan2_two")
run adapt "a minute" $(gen adapt --source stylegan2-faces64 --domain "streets=$OUT/streets/day" --set images=800 device="$DEVICE" \
  --out "$OUT/adapted")
run smd "faster than on a CPU" $(gen render-smd "$OUT/smd" --per-class 20 --device "$DEVICE")
run smos "a minute; the accuracy of one cell" $(gen train-smos --data "$OUT/smd" --out "$OUT/smos" --method erm --target lowpoly \
  --seeds 0 --preset cpu --set size=224 steps=${STEPS:-101} device="$DEVICE")
run page "every translation answered, the adaptation done" "$PYTHON" benchmarks/web_memory.py --count 20 --adapt "$OUT/streets/day"
run translate_fp32 "the network's time twice that of bf16" \
  $(gen translate "$OUT/streets/adverse/night" "$OUT/fp32" --device "$DEVICE" --precision fp32 --resolution native)
run translate_bf16 "within a grey level of fp32 on average" \
  $(gen translate "$OUT/streets/adverse/night" "$OUT/bf16" --device "$DEVICE" --precision bf16 --resolution native)
run translate_tile "as translate_fp32, slower" \
  $(gen translate "$OUT/streets/adverse/night" "$OUT/tile" --device "$DEVICE" --precision fp32 --resolution native --tile 64)
run tests "all pass" "$PYTHON" -P -m pytest -q -m devices tests/device
cat "$OUT/summary.txt"
