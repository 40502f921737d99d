"""A judge that another process keeps loaded (`yoj serve`), with the interface of `Judge`: see `RemoteJudge`."""

from yoj_cli.client.judge import RemoteJudge

__all__ = ["RemoteJudge"]
