"""The variant behind FastAPI: `uvicorn` runs this application, requests in a pool of threads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool

from load_tests.benchmarks.peers.model import PeerModel, PeerTask


@asynccontextmanager
async def _loaded(application: FastAPI) -> AsyncIterator[None]:
    application.state.model = PeerModel(PeerTask.given())
    yield


app = FastAPI(lifespan=_loaded)


@app.post("/segment")
async def segment(request: Request) -> dict[str, Any]:
    return await run_in_threadpool(request.app.state.model.segment, await request.body())
