"""`penance-server`: `serve run serving.app` with the flags of Ray Serve and gRPC that it runs best with.

They are read from the environment as Ray starts, so a bare `serve run` needs them exported.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer

FLAGS = MappingProxyType(
    {
        # Replicas call each other by gRPC, whose messages must hold a segment of 8 MiB or all its label maps.
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": "67108864",
        # Logs are written line by line: buffered, a request would be found in them a thousand requests later.
        "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
        # Serve's controller looks at all replicas in each turn; at its own ten a second it takes half a core.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
        # A proxy that died is replaced after three looks: with ten seconds between them, as usual, cameras
        # of its node would have no answer for half a minute (docs/chaos.md).
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        # Only Serve's own proxies send to an ingress replica, and they hear of its end within a second: the
        # usual half minute for a load balancer to hear of it would be a Ctrl-C that takes so long.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "3",
        # What our processes fork becomes another program at once (decoders, the database). gRPC readies each
        # fork for more of itself all the same, and of 10,000 forks beside a busy server it aborted 37.
        "GRPC_ENABLE_FORK_SUPPORT": "0",
    }
)
"""What is set unless the environment says otherwise."""
HAPROXY = MappingProxyType({"RAY_SERVE_ENABLE_HA_PROXY": "1"})
"""HAProxy before the ingress: refusals in a third of the time. Its own ports are open to whoever reaches the
host, and need no key: only where networks hold them back, as compose.yaml and k8s/base/network-policies.yaml
do."""


app = typer.Typer(add_completion=False)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def launch(
    context: typer.Context,
    haproxy: Annotated[
        bool, typer.Option("--haproxy", help="before the ingress; opens ports 8404 and 9101 to your network")
    ] = False,
) -> None:
    """Starts the server with the flags of Ray Serve that it runs best with. What follows is given to `serve
    run`."""
    flags = {**FLAGS, **(HAPROXY if haproxy else {})}
    os.environ.update({name: value for name, value in flags.items() if name not in os.environ})
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    program = shutil.which("serve", path=beside)
    if program is None:
        typer.echo("penance-server: there is no Ray Serve here: pip install 'penance[serving]'", err=True)
        raise typer.Exit(1)
    os.execv(program, [program, "run", *context.args, "serving.app"])
