"""What a held bundle costs: memory of each replica, and the time that loading takes beside what is in force.

`python -m load_tests.benchmarks.held_bundle [BUNDLE]` loads the bundle several times, as replicas do, in a
process of its own for each role, and prints what each load after the first two added: those also pay for
libraries, and for what compiling leaves behind.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from configs.bundle import DEFAULT_BUNDLE, Bundle

MEGABYTE = 2**20
MORE = 3


def loader(role: str, bundle: Bundle) -> Callable[[], object]:
    """What a replica of this role does to hold a bundle."""
    if role == "ingress":
        return lambda: Bundle.load(bundle.directory)
    if role == "encoder":
        from serving.deployments.encoder import LoadedEncoder

        return lambda: LoadedEncoder(bundle)
    from configs.settings import Settings
    from serving.deployments.variant import warm_engine
    from serving.options import load_options

    variant = int(role.removeprefix("variant-"))
    options = load_options(Settings().serving_file).variant(variant)
    return lambda: warm_engine(bundle, variant, options)


def measure(role: str, directory: Path) -> tuple[float, float]:
    """Megabytes of unique memory and seconds of each load in this process after the first two."""
    load, process = loader(role, Bundle.load(directory)), psutil.Process()
    held = [load(), load()]
    before, began = process.memory_full_info().uss, time.perf_counter()
    held += [load() for _ in range(MORE)]
    seconds = (time.perf_counter() - began) / MORE
    return (process.memory_full_info().uss - before) / MORE / MEGABYTE, seconds


def main() -> None:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_BUNDLE
    if len(sys.argv) > 2:
        print(json.dumps(measure(sys.argv[2], directory)))
        return
    variants = len(Bundle.load(directory).manifest.variants)
    roles = [*(f"variant-{index}" for index in range(variants)), "encoder", "ingress"]
    print("| replica | MB | seconds |\n|---|---|---|")
    for role in roles:
        command = [sys.executable, "-m", "load_tests.benchmarks.held_bundle", str(directory), role]
        added, seconds = json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
        )
        print(f"| {role} | {added:.0f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
