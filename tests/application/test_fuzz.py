"""A few hundred mutated segments, requests and frames: the application answers afterwards as before."""

from __future__ import annotations

import asyncio
from pathlib import Path

from configs.bundle import Bundle
from load_tests.application import RunningApplication
from load_tests.chaos.fuzz.campaign import Campaign
from load_tests.tenants import new_tenant

CASES, SEED, AT_ONCE = 400, 20, 8


def test_mutated_requests_break_nothing(application: RunningApplication, bundle: Path) -> None:
    async def send() -> Campaign:
        key = await new_tenant(application, tenant="fuzz")
        campaign = Campaign(application, Bundle.load(bundle), key, "fuzz", SEED, AT_ONCE)
        await campaign.run(0, CASES)
        return campaign

    tally = asyncio.run(send()).tally
    assert tally.findings == []
    assert tally.unwell == []
    assert tally.cases == CASES
    assert tally.decoders_missing == 0
    assert sum(n for (family, told), n in tally.outcomes.items() if told == "422 undecodable") > CASES / 5
