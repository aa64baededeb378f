"""The family of models that is in force."""

from __future__ import annotations

from fastapi import APIRouter

from clients.protocol import VariantInfo
from serving.ingress.routes.refusals import refusals
from serving.ingress.services import ThePrincipal, TheServices

router = APIRouter(tags=["fleet"])


@router.get("/v1/variants", summary="The models of the bundle", responses=refusals())
async def variants(_: ThePrincipal, services: TheServices) -> list[VariantInfo]:
    return [
        VariantInfo(
            variant=index,
            name=variant.name,
            sparsity=variant.sparsity,
            parameters=variant.parameters,
            gflops_frame=tuple(flops / 1e9 for flops in variant.flops),
        )
        for index, variant in enumerate(services.bundles.in_force.manifest.variants)
    ]
