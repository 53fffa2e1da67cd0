"""The fault suite again and again, each time with another timing:

    script/test --faults-long --minutes 60 [--seed 7]

Each round's seed is printed; `--seed` begins with that one.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/test --faults-long")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int)
    given = parser.parse_args()
    deadline = time.monotonic() + given.minutes * 60
    seed, rounds = given.seed, 0
    while time.monotonic() < deadline:
        seed = random.randrange(2**32) if seed is None else seed
        print(f"--- round {rounds + 1}, seed {seed}", flush=True)
        code = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "tests/faults"],
            cwd=ROOT,
            env={**os.environ, "FAULTS_SEED": str(seed)},
            check=False,
        ).returncode
        if code:
            print(f"--- failed; again with: script/test --faults-long --minutes 5 --seed {seed}")
            return code
        seed, rounds = None, rounds + 1
    print(f"--- {rounds} rounds, all green")
    return 0


if __name__ == "__main__":
    sys.exit(main())
