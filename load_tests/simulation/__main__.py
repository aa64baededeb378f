"""`python -m load_tests.simulation`: calibrates on a running application, compares, and says what a fleet
needs."""

from __future__ import annotations

from load_tests.simulation.cli import app

if __name__ == "__main__":
    app()
