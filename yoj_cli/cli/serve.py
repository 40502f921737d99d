"""`yoj serve`: the judge that stays loaded, over HTTP."""

from __future__ import annotations

from yoj_cli.cli.messages import say
from yoj_cli.cli.options import with_options
from yoj_cli.config.io import InputConfig
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.config.serve import ServeConfig
from yoj_cli.errors import require


@with_options(server=ServeConfig, judge=JudgeConfig, media=InputConfig)
def serve(server: ServeConfig, judge: JudgeConfig, media: InputConfig) -> None:
    """Keep a judge loaded and answer over HTTP.

    yoj serve -m demo

    curl http://127.0.0.1:8321/v1/groups --json '{"prompt": "2 + 2?", "responses": ["4", "5"]}'

    POST /v1/groups takes and gives the lines of `yoj score`; GET /health, /ready, /v1/models, /metrics and
    /openapi.json say how the server does. It needs the extra: pip install 'yoj-cli[serve]'
    """
    require("yoj serve", "fastapi", "uvicorn", "prometheus_client", extra="serve")
    server.read_keys()
    server.check_certificate()
    from yoj_cli.serve.server import serve as run

    run(server, judge, media, say=say)
