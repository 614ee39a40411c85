#!/bin/bash
# The first half hour on a CUDA GPU: what no other machine can show. Each line has two minutes, prints its time and what
# is expected, and goes on after a failure.
#
#   benchmarks/first_gpu.sh OUT [DEVICE]
#
# Expected figures were computed from the operations and bytes of each step for one H100, and never measured.
# DEVICE=cpu with PRESET=tiny IMAGES=16 tries the script itself.
set -u
OUT=${1:?give a folder for the results}
DEVICE=${2:-cuda}
PRESET=${PRESET:-bdd}
IMAGES=${IMAGES:-1200}
PYTHON=${PYTHON:-python}
mkdir -p "$OUT"
cd "$(dirname "$0")/.." || exit 1

run() { # NAME EXPECTED COMMAND...
  local name=$1 expected=$2 began=$SECONDS code=0
  shift 2
  timeout 25 "$@" >"$OUT/$name.log" 2>&1 || code=$?
  printf '%-18s exit %-3s %4d s  expected: %s\n' "$name" "$code" $((SECONDS - began)) "$expected" | tee -a "$OUT/summary.txt"
  grep -E ' a second|images/s|ms|Error|error' "$OUT/$name.log" | tail -3 | tee -a "$OUT/summary.txt"
}
gen() { echo "$PYTHON -P -m gen.cli $*"; }
both() { echo "$PYTHON -m torch.distributed.run --nproc-per-node 2 -m gen.cli $*"; }

DATA="--adverse $OUT/streets/adverse/night --normal $OUT/streets/day"
AUGAN="train-augan $DATA --preset $PRESET --set images=$IMAGES device=$DEVICE log_every=100 checkpoint_every=600"


run stylegan2 "no slower beside other work" \
  $(gen train-stylegan2 --data "$OUT/streets/day" --preset config-f --set images=3200 size=64 device="$DEVICE" distance_images=0 \
    --out "$OUT/stylegan2")
run adapt "a minute" $(gen adapt --source stylegan2-faces64 --domain "streets=$OUT/streets/day" --set images=800 device="$DEVICE" \
  --out "$OUT/adapted")
run translate_fp32 "the network's time twice that of bf16" \
  $(gen translate "$OUT/streets/adverse/night" "$OUT/fp32" --device "$DEVICE" --precision fp32 --resolution native)
run translate_bf16 "within a grey level of fp32 on average" \
  $(gen translate "$OUT/streets/adverse/night" "$OUT/bf16" --device "$DEVICE" --precision bf16 --resolution native)
run translate_tile "as translate_fp32, slower" \
  $(gen translate "$OUT/streets/adverse/night" "$OUT/tile" --device "$DEVICE" --precision fp32 --resolution native --tile 64)
cat "$OUT/summary.txt"
