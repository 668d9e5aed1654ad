"""The report of `check_agent`: a row per rung, a table for people, a dictionary for machines."""

import io
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


class AgentCheckError(AssertionError):
    """An agent fell short of a rung; the message is the table."""


@dataclass(frozen=True)
class RungResult:
    """An agent's objective on a rung, and what there was to reach; all values are of the rung's objective.

    Attributes:
        name, asks, cause: of the rung; `cause` is what a failure points to.
        coef: of the KL term in the objective E[score] - coef · KL(π ‖ π_ref); 0: the mean score alone.
        timesteps: the tokens that the agent might train on.
        random: of choosing every token equally often.
        best_of_n: of the best of `n` completions drawn from the reference.
        oracle: of the best policy there is.
        agent, margin: of the agent; its 95 % interval is agent ± margin.
        mark: what the lower end of that interval has to reach.
    """

    name: str
    asks: str
    cause: str
    coef: float
    timesteps: int
    random: float
    n: int
    best_of_n: float
    oracle: float
    agent: float
    margin: float
    mark: float

    @property
    def regret(self) -> float:
        """The oracle's objective minus the agent's; a little below 0 can happen by the luck of sampling."""
        return self.oracle - self.agent

    @property
    def passed(self) -> bool:
        """True where the agent is above the mark beyond doubt."""
        return self.agent - self.margin >= self.mark


@dataclass(frozen=True)
class AgentReport:
    """The rungs that an agent was tried on; `str()` is the table."""

    rungs: tuple[RungResult, ...]

    @property
    def passed(self) -> bool:
        """True where every rung was passed."""
        return all(rung.passed for rung in self.rungs)

    @property
    def failed(self) -> list[str]:
        """The names of the rungs that were not passed, the lowest first."""
        return [rung.name for rung in self.rungs if not rung.passed]

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as JSON can hold it."""
        rungs = [asdict(rung) | {"regret": rung.regret, "passed": rung.passed} for rung in self.rungs]
        return {"passed": self.passed, "rungs": rungs}

    def raise_for_failures(self) -> None:
        """Raises AgentCheckError with the table unless every rung was passed."""
        if not self.passed:
            raise AgentCheckError(f"the agent fell short of: {', '.join(self.failed)}\n{self}")

    def table(self) -> Table:
        """Returns the table. The cause stands at the lowest rung that failed: those above need what it asks for."""
        table = Table(title="check_agent", title_justify="left", show_lines=True)
        table.add_column("rung and what it asks for", ratio=1)
        for name in ("random", "best of n", "agent", "oracle", "regret"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        for rung in self.rungs:
            heading = Text(f"{rung.name}: {rung.asks}")
            if rung.name in self.failed[:1]:
                heading.append(f"\nlikely cause: {rung.cause}", style="bold red")
            values = (rung.random, rung.best_of_n, rung.agent, rung.oracle, rung.regret)
            cells = [f"{value:.3f}" for value in values]
            cells[2] += f" ± {rung.margin:.3f}"
            verdict = Text("passed", style="green") if rung.passed else Text("FAILED", style="bold red")
            verdict.append(f"\nat {rung.mark:.3f}", style="dim")
            table.add_row(heading, *cells, verdict)
        return table

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), width=120, color_system=None)
        console.print(self.table())
        return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]
