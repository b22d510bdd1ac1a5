"""The whole example: asks questions, shows drafts as they stream in, asks for approval, sums up what it has cost."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from glidemq import Backoff, Budget, DagNode, Fallback, FlowProducer, GlideMQError, Job, Queue
from glidemq.examples.llm_pipeline.processors import ANSWERS, DRAFTS, PASSAGES, SEED_VARIABLE, Answer
from glidemq.examples.plain_text import print_plain
from glidemq.examples.supervisor_process import SupervisorProcess

APP = "glidemq.examples.llm_pipeline:app"
INTERRUPTED = 130  # what a shell expects after Ctrl-C
QUESTIONS = (
    "How does a parent wait for its children?",
    "What happens to a signal that comes too early?",
    "When is a budget settled?",
    "Which model answers when the first one is overloaded?",
    "Can a reader that lost its connection read on?",
    "Where does a job wait that cannot be afforded now?",
)
LOOK_EVERY_S = 0.05
# Enough for every draft, and after all but the longest ones for criticism, too.
BUDGET = Budget(max_total_tokens=117, cost_unit="usd")


class Asked(NamedTuple):
    """One question, and the jobs that answer it."""

    question: str
    answer: Job[Any, Answer]
    draft: Job[Any, Any]
    criticism: Job[Any, Any]


def graph(question: str) -> list[DagNode]:
    """An answer and what it waits for. Criticism would be nice to have: its failure stops nothing."""
    asked = {"question": question}
    return [
        {
            "name": "retrieve",
            "queue_name": PASSAGES,
            "data": asked,
            "opts": {"lock_duration": 5, "estimated_tokens": len(question.split())},
        },
        model_call("draft", question, max_tokens=60),
        model_call("criticise", question, max_tokens=30, deps=["draft"]),
        {
            "name": "answer",
            "queue_name": ANSWERS,
            "data": asked,
            "opts": {"estimated_tokens": 0},
            "deps": ["retrieve", "draft", "criticise"],
        },
    ]


def model_call(name: str, question: str, *, max_tokens: int, deps: Sequence[str] = ()) -> DagNode:
    """A job that asks the dear model first, and the cheap one when that is overloaded."""
    return {
        "name": name,
        "queue_name": DRAFTS,
        "data": {"question": question, "model": "grand", "max_tokens": max_tokens},
        "opts": {
            "lock_duration": 60,
            "estimated_tokens": max_tokens + 20,
            "fallbacks": [Fallback("swift", "simulated", on=("Overloaded",))],
            "attempts": 3,
            "backoff": Backoff.exponential(0.1),
            "on_failure": "ignore" if name == "criticise" else "fail_parent",
        },
        "deps": deps,
    }


class Pipeline:
    """The producer's side. Owns: its connections. Stops when: the `async with` block ends."""

    def __init__(self, console: Console, *, asks: bool) -> None:
        self._console = console
        self._asks = asks
        self.flow = FlowProducer()
        self.answers = Queue[Any, Answer](ANSWERS)
        self.drafts = Queue[Any, Any](DRAFTS)

    async def __aenter__(self) -> Pipeline:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(self.flow.close(), self.answers.close(), self.drafts.close())

    async def ask(self, questions: Sequence[str]) -> list[Asked]:
        """Add all questions at once; they are worked on side by side."""
        graphs = await asyncio.gather(
            *(self.flow.add_dag(graph(question), budget=BUDGET) for question in questions)
        )
        return [
            Asked(question, jobs["answer"], jobs["draft"], jobs["criticise"])
            for question, jobs in zip(questions, graphs, strict=True)
        ]

    async def show(self, asked: Asked) -> None:
        """Print the draft word by word, as its model says it; where a run failed half-way, the next one starts over."""
        print_plain(f"\n{asked.question}", self._console, "bold")
        attempt: int | None = None
        async for entry in self.drafts.stream(asked.draft.id):
            if attempt is not None and entry.attempt != attempt:
                self._console.print("\n(once more, from the beginning)", style="yellow")
            attempt = entry.attempt
            self._console.print(entry.fields["t"], end=" ", markup=False, highlight=False, soft_wrap=True)
        self._console.print()

    async def judge(self, asked: Asked) -> None:
        """Wait until the answer wants approval, and say yes or no."""
        while await self.answers.get_suspend_info(asked.answer.id) is None:
            await asked.answer.refresh()
            if asked.answer.finished_on is not None:
                return  # a child has failed for good, and the answer with it
            await asyncio.sleep(LOOK_EVERY_S)
        name = "approve"
        if self._asks:
            reply = await asyncio.to_thread(self._console.input, "send this answer? [Y/n] ")
            name = "reject" if reply.strip().lower().startswith("n") else "approve"
        await self.answers.signal(asked.answer.id, name, {"reviewer": "you" if self._asks else "nobody"})

    async def report(self, all_asked: Sequence[Asked]) -> bool:
        """A line for each answer and the sum; whether all of them came about."""
        table = Table("question", "model", "attempts", "tokens", "cost", "outcome")
        complete = True
        for asked in all_asked:
            state = await asked.answer.wait_until_finished(poll=LOOK_EVERY_S)
            await asked.draft.refresh()
            await asked.criticism.refresh()
            usage = await self.answers.get_flow_usage(asked.answer.id)
            answer = asked.answer.return_value
            outcome = asked.answer.failed_reason or "failed"
            if answer is not None:
                outcome = "approved" if answer["approved"] else "rejected"
                if answer["criticism"] is None:
                    outcome += f", without criticism: {asked.criticism.failed_reason}"
            complete = complete and state == "completed"
            table.add_row(
                asked.question,
                answer["model"] if answer else "-",
                str(asked.draft.attempts_made + 1),
                f"{usage.total_tokens:g}",
                f"${usage.total_cost:.4f}",
                outcome,
            )
        self._console.print(table)
        summary = await self.answers.get_usage_summary(queues=[ANSWERS, DRAFTS, PASSAGES], window=600)
        models = ", ".join(f"{model}: {jobs}" for model, jobs in sorted(summary.models.items()))
        total = f"{summary.total_tokens:g} tokens, ${summary.total_cost:.4f}"
        self._console.print(f"in the last ten minutes: {total}; jobs by model: {models}", highlight=False)
        return complete


async def run(questions: Sequence[str], console: Console, *, asks: bool) -> tuple[bool, int]:
    """Start the supervisor, answer the questions, drain it: whether all were answered, and its exit status."""
    async with (
        Pipeline(console, asks=asks) as pipeline,
        SupervisorProcess(APP, console, "--procs", "1", "--log-level", "error") as supervisor,
    ):
        all_asked = await pipeline.ask(questions)
        for asked in all_asked:
            await pipeline.show(asked)
            await pipeline.judge(asked)
        complete = await pipeline.report(all_asked)
        return complete, await supervisor.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the example; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m glidemq.examples.llm_pipeline", description=__doc__)
    parser.add_argument("--questions", type=int, choices=range(1, len(QUESTIONS) + 1), default=4, metavar="N")
    parser.add_argument(
        "--seed", default="7", help="decides what the simulated models say and when they fail"
    )
    parser.add_argument("--approve-all", action="store_true", help="do not ask; also without a terminal")
    options = parser.parse_args(arguments)
    os.environ[SEED_VARIABLE] = options.seed

    logging.getLogger("glidemq.connection").setLevel(logging.ERROR)
    console = Console()
    asks = sys.stdin.isatty() and not options.approve_all
    try:
        complete, status = asyncio.run(run(QUESTIONS[: options.questions], console, asks=asks))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("interrupted; the supervisor has stopped")
        return INTERRUPTED
    except GlideMQError as error:
        print_plain(str(error), console, "red")
        return 1
    return 0 if complete and status == 0 else 1
