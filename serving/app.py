"""The Ray Serve application: `serve run serving.app` starts it.

The graph: an ingress in front of one deployment per variant and the performance encoder; the embedded
database is part of it only where no Redis is given.
"""

from __future__ import annotations

from ray.serve import Application

from configs.bundle import Bundle
from configs.settings import Settings
from serving.deployments.database import DatabaseDeployment
from serving.deployments.encoder import EncoderDeployment
from serving.deployments.variant import VariantDeployment
from serving.ingress.replica import IngressDeployment
from serving.options import load_options


def build(settings: Settings) -> Application:
    """Binds the whole application to a bundle and its options."""
    bundle = Bundle.load(settings.bundle.resolve())  # replicas may run in another folder
    options = load_options(settings.serving_file)
    log, variants = options.telemetry.for_serve(), []
    for index in range(len(bundle.manifest.variants)):
        own = options.variant(index)
        deployment = VariantDeployment.options(name=f"variant-{index}", logging_config=log, **own.for_serve())
        variants.append(deployment.bind(bundle.directory, index, own, settings))
    encoder = EncoderDeployment.options(name="encoder", logging_config=log, **options.encoder.for_serve())
    database = None
    if settings.redis_url is None:
        database = DatabaseDeployment.options(name="database", logging_config=log).bind(
            settings.state_directory
        )
    ingress = IngressDeployment.options(name="ingress", logging_config=log, **options.ingress.for_serve())
    return ingress.bind(
        bundle.directory, settings, options, variants, encoder.bind(bundle.directory, settings), database
    )


app = build(Settings())
