"""AWS's durable SDK on its own local runner, in memory."""

from __future__ import annotations

import json
import logging
from typing import Any

from aws_durable_execution_sdk_python import DurableContext, durable_execution
from aws_durable_execution_sdk_python_testing.runner import DurableFunctionTestRunner
from measuring import FANS, RUNS, STEPS, say, say_fan, say_runs, say_steps, seconds

logging.disable(logging.CRITICAL)


@durable_execution
def steps(event: dict[str, Any], context: DurableContext) -> int:
    for index in range(event["n"]):
        context.step(lambda _, index=index: {"index": index}, name=f"step {index}")
    return 0


@durable_execution
def fan(event: dict[str, Any], context: DurableContext) -> int:
    context.map(list(range(event["n"])), lambda child, item, *_: child.step(lambda _: {"index": item}))
    return 0


def main() -> None:
    with DurableFunctionTestRunner(steps, poll_interval=0.005) as runner:
        names = iter(range(10**9))

        def run(n: int) -> None:
            runner.run(input=json.dumps({"n": n}), execution_name=f"e-{next(names)}", timeout=120)

        def many(count: int) -> None:
            arns = [
                runner.run_async(input=json.dumps({"n": 10}), execution_name=f"e-{next(names)}") for _ in range(count)
            ]
            for arn in arns:
                runner.wait_for_result(arn, timeout=120)

        for number in STEPS:
            say_steps(number, seconds(lambda n=number: run(n)))
        for number in RUNS:
            say_runs(number, seconds(lambda n=number: many(n), times=1))
    with DurableFunctionTestRunner(fan, poll_interval=0.005) as runner:
        for number in FANS:
            say_fan(
                number,
                seconds(lambda n=number: runner.run(input=json.dumps({"n": n}), timeout=120), times=1),
            )
    say("1,000 sleepers, lateness p95", None, "s", "its clock is skipped")


main()
