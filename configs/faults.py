"""What pydantic found wrong with a file, in a sentence that people can act on."""

from __future__ import annotations

from pydantic import ValidationError


def describe_faults(error: ValidationError) -> str:
    """Each faulty field with what is wrong with it: `variants.1.gflops: Input should be ...; ...`."""
    faults = []
    for fault in error.errors():
        place = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        faults.append(f"{place}: {message}" if place else message)
    return "; ".join(faults)
