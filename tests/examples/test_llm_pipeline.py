"""The pipeline of AI primitives as a user runs it, and what its simulated provider promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from glidemq.examples.llm_pipeline.provider import MODELS, Overloaded, RateLimited, SimulatedProvider
from glidemq.examples.llm_pipeline.retrieval import PASSAGES, nearest
from tests.examples.test_run import clean_environment, nothing_is_left


def run(directory: Path, *arguments: str) -> str:
    """One run without a terminal; what it has printed."""
    done = subprocess.run(
        [sys.executable, "-m", "glidemq.examples.llm_pipeline", "--questions", "3", *arguments],
        cwd=directory,
        env=clean_environment(directory, COLUMNS="200"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def drafts(output: str) -> list[str]:
    """What was streamed to the terminal, by question."""
    shown = output.partition("┏")[0]
    return [block.partition("\n")[2] for block in re.split(r"\n(?=[A-Z][^\n]*\?\n)", shown)[1:]]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("pipeline")
    printed = run(directory)
    nothing_is_left(directory)
    return printed


def test_every_draft_streams_to_the_terminal_and_is_approved(output: str) -> None:
    assert len(drafts(output)) == 3
    assert all(len(draft.split()) >= 20 for draft in drafts(output))
    assert output.count("approved") == 3


def test_overloaded_model_is_replaced_by_the_next_of_the_chain(output: str) -> None:
    assert re.search(r"│ When is a budget settled\?\s+│ swift │ 2\s+│", output)
    assert re.search(r"│ How does a parent .*│ grand │ 1\s+│", output)


def test_criticism_that_its_budget_has_no_room_for_is_left_out(output: str) -> None:
    assert re.search(
        r"│ What happens to a signal .*│ approved, without criticism: Budget exceeded\s+│", output
    )
    assert output.count("without criticism") == 1


def test_what_was_used_is_summed_up_over_all_answers(output: str) -> None:
    rows = re.findall(r"│ (\d+)\s+│ \$(\d\.\d+) │", output)
    total = re.search(r"in the last ten minutes: (\d+) tokens, \$(\d\.\d+); jobs by model: (.+)", output)
    assert total is not None
    assert int(total[1]) == sum(int(tokens) for tokens, _ in rows)
    assert float(total[2]) == pytest.approx(sum(float(cost) for _, cost in rows), abs=0.0003)
    assert "embedder: 3" in total[3] and "grand:" in total[3] and "swift:" in total[3]


def test_same_seed_says_the_same_and_another_one_does_not(output: str, tmp_path: Path) -> None:
    assert drafts(run(make(tmp_path, "again"))) == drafts(output)
    assert drafts(run(make(tmp_path, "other"), "--seed", "8")) != drafts(output)


def make(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


async def test_provider_refuses_a_prompt_once_and_is_overloaded_for_good() -> None:
    provider = SimulatedProvider(3)
    fates: dict[str, list[str]] = {}
    for number in range(40):
        for _ in range(2):
            try:
                completion = await provider.complete("grand", f"prompt {number}", max_tokens=9)
                words = [word async for word in completion]
                assert completion.output_tokens == len(words) <= 9 and completion.cost > 0
                fates.setdefault(f"prompt {number}", []).append("answered")
            except RateLimited as refusal:
                assert refusal.retry_after > 0
                fates.setdefault(f"prompt {number}", []).append("refused")
            except Overloaded:
                fates.setdefault(f"prompt {number}", []).append("overloaded")
    seen = {tuple(fate) for fate in fates.values()}
    assert seen == {
        ("answered", "answered"),
        ("refused", "answered"),
        ("overloaded", "overloaded"),
        ("refused", "overloaded"),
    }
    assert MODELS["swift"].price < MODELS["grand"].price


def test_retrieval_finds_the_passage_that_says_the_same() -> None:
    assert nearest("Which passage is about budgets that are reserved and settled?", 1) == [PASSAGES[2]]
