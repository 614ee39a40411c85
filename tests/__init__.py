"""The tests; `make test` runs them."""

import os

if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    # Before torch is imported. With all cores for each worker, the threads of one would wait for those of the others.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))
