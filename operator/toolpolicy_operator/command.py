"""`toolpolicy operator` and `toolpolicy webhook`: each loads only what it runs."""

import asyncio


def operator(argv: list[str]) -> int:
    """Runs one replica of the operator until TERM; returns its exit code."""
    import uvloop  # noqa: PLC0415 -- the webhook does not pay for what only the operator runs, nor the other way round

    from toolpolicy_operator.logs import configure  # noqa: PLC0415 -- the same
    from toolpolicy_operator.run import run  # noqa: PLC0415 -- the same
    from toolpolicy_operator.settings import parse  # noqa: PLC0415 -- the same

    settings = parse(argv)
    configure(settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(settings))


def webhook(argv: list[str]) -> int:
    """Runs one replica of the webhook server until TERM; returns its exit code."""
    import uvloop  # noqa: PLC0415 -- the same

    from toolpolicy_operator.logs import configure  # noqa: PLC0415 -- the same
    from toolpolicy_operator.webhook.serve import serve  # noqa: PLC0415 -- the same
    from toolpolicy_operator.webhook.settings import parse  # noqa: PLC0415 -- the same

    settings = parse(argv)
    configure(settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(settings))
