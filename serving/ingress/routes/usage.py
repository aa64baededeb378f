"""Usage: what a tenant was served in a month, for itself and for operators."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from clients.usage import MONTH_PATTERN, UsageReport
from serving.admin.usage import usage_report
from serving.ingress.query import TenantQuery
from serving.ingress.routes.refusals import refusals
from serving.ingress.services import ThePrincipal, TheServices
from serving.problems import Invalid

router = APIRouter(tags=["tenants"])

MonthQuery = Annotated[
    str | None, Query(pattern=MONTH_PATTERN, description="UTC; without it the month that runs")
]
FormatQuery = Annotated[Literal["json", "csv"], Query(description="what the report is written as")]


@router.get(
    "/v1/usage",
    summary="Usage of a month",
    response_model=UsageReport,
    responses=refusals(403, 404, 422) | {200: {"content": {"text/csv": {}}}},
)
async def usage(
    principal: ThePrincipal,
    services: TheServices,
    tenant: TenantQuery = None,
    month: MonthQuery = None,
    format: FormatQuery = "json",
) -> UsageReport | Response:
    """Accepted segments, their FLOPs and bytes: by hour, and by camera with what it costs. An operator names
    the tenant; a tenant sees its own."""
    whose = tenant or principal.tenant
    principal.require_insight(whose)
    if not whose:
        raise Invalid("An operator sees every tenant's usage: name one with ?tenant=.")
    report = await usage_report(services.store.usage, services.rates, whose, month)
    return report if format == "json" else Response(report.csv(), media_type="text/csv")
