"""`textrl label`: people judge completions, on a local page or in the terminal."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from textrl_env.cli.fitting import fitting_tokenizer
from textrl_env.cli.optional import OptionalPath
from textrl_env.cli.run_folder import existing_model
from textrl_env.data import OnBadRow, PromptDataset
from textrl_env.errors import InputError, require_at_least
from textrl_env.reward_models.feedback.desk import Item, Task
from textrl_env.reward_models.model import is_ensemble

if TYPE_CHECKING:
    from textrl_env.reward_models.feedback.desk import Desk, Store


@dataclass(frozen=True)
class Label:
    """Serves a page on which people compare, rank or rate completions. Without new ones it goes on with DATABASE."""

    prompts: OptionalPath = None
    """Prompts to sample completions for: JSONL, JSON, CSV or TXT."""
    policy: OptionalPath = None
    """The causal LM that completes them."""
    k: int = 4
    """Completions per prompt; at most 9 are ranked."""
    completions: OptionalPath = None
    """Completions that are there already: rows with prompt and completions, completion, or chosen and rejected."""
    task: Task = "pair"
    """Compare two, rank all of a prompt, or rate one from 1 to 7."""
    database: Path = Path("runs/labels.db")
    """Where the labels go; made if it is not there."""
    overlap: int = 1
    """Annotators per item."""
    repeats: float = 0.05
    """Share of answers asked a second time, unseen, to measure consistency."""
    reward_models: tuple[Path, ...] = ()
    """Reward models, or an ensemble: what they disagree about most comes first."""
    instructions: OptionalPath = None
    """Markdown for the annotators; by default a general guide."""
    host: str = "127.0.0.1"
    """Address to listen at; another machine gets in only by invitation."""
    port: int = 8765
    """Port to listen at; 0 takes a free one."""
    invite: tuple[str, ...] = ()
    """Names of annotators, each of whom gets a link; without it anybody on this machine gives a name."""
    allowed_hosts: tuple[str, ...] = ()
    """Further host names under which the page may be asked for, such as a proxy's."""
    terminal: str = ""
    """An annotator's name: asks in this terminal and serves no page."""
    max_new_tokens: int = 64
    """Longest completion, in tokens."""
    temperature: float = 1.0
    """Of sampling."""
    seed: int = 0
    """Of sampling, and of the order of a new database."""
    on_bad_row: OnBadRow = "error"
    """What a bad row of a file does: stop, or be left out and counted."""

    def run(self) -> None:
        """Adds the items, then serves until Ctrl-C."""
        require_at_least(2 if self.task != "rating" else 1, k=self.k)
        if self.prompts and not self.policy:
            raise InputError("prompts: say which model completes them (--policy runs/mine/sft), or give --completions")

        from textrl_env.reward_models.feedback.desk import Desk, Plan, Store

        if len(self.reward_models) == 1 and not is_ensemble(self.reward_models[0]):
            raise InputError(
                f"reward_models: two or more can disagree, or one that is an ensemble, got {self.reward_models[0]}"
            )
        for path in self.reward_models:
            existing_model(path, made_by="textrl reward-model")
        plan = Plan(overlap=self.overlap, repeats=self.repeats, seed=str(self.seed))
        instructions = self._checked_instructions()
        if self.database.exists():
            Store(self.database).close()  # One that cannot be used is said before anything is sampled.
        items = self._items()
        if not items and not self.database.exists():
            raise InputError(f"{self.database}: not there yet; give --prompts and --policy, or --completions")
        store, console = Store(self.database), Console()
        added = store.add_items(items) if items else 0
        if not store.items:
            raise InputError(f"{self.database}: nothing to label in it; give --prompts and --policy, or --completions")
        if self.reward_models:
            self._rank_by_disagreement(store)
        desk = Desk(store, plan)
        console.print(
            f"{len(store.items)} items in {self.database}, {added} of them new", highlight=False, soft_wrap=True
        )
        try:
            if self.terminal:
                self._ask_here(desk, console)
            else:
                self._serve(desk, console, instructions)
        except KeyboardInterrupt:
            pass
        desk.refresh()
        console.print(
            f"\n{desk.log.n_answers} labels in {self.database}\n"
            f"next: textrl export-labels --database {self.database} --out {self.database.with_suffix('.jsonl')}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        store.close()

    def _items(self) -> list[Item]:
        from textrl_env.reward_models.feedback.desk import items_of, read_items

        items = read_items(self.completions, self.task, on_bad_row=self.on_bad_row) if self.completions else []
        if self.prompts and self.policy:
            dataset = PromptDataset.from_file(self.prompts, on_bad_row=self.on_bad_row)
            sampled = self._sampled(self.policy, dataset)
            items += [item for prompt, texts in sampled for item in items_of(self.task, prompt, texts)]
        return items

    def _sampled(self, policy: Path, dataset: PromptDataset) -> list[tuple[Any, list[str]]]:
        existing_model(policy, made_by="textrl sft")
        tokenizer = fitting_tokenizer(policy, dataset, max_new_tokens=self.max_new_tokens)

        from transformers import AutoModelForCausalLM

        from textrl_env.agents import sample_completions
        from textrl_env.lm import load_model

        samples = sample_completions(
            load_model(AutoModelForCausalLM, policy), tokenizer, list(dataset.prompts), n=self.k, seed=self.seed,
            max_new_tokens=self.max_new_tokens, temperature=self.temperature, description="completions",
        )  # fmt: skip
        return [
            (prompt, [completion.text for completion in completions])
            for prompt, completions in zip(dataset.prompts, samples, strict=True)
        ]

    def _rank_by_disagreement(self, store: "Store") -> None:
        from textrl_env.reward_models.feedback.desk import disagreement
        from textrl_env.reward_models.model import IndependentEnsemble, RewardEnsemble, load_reward_model

        first, *others = map(load_reward_model, self.reward_models)
        ensemble = first if isinstance(first, RewardEnsemble) and not others else IndependentEnsemble([first, *others])
        store.set_disagreement(disagreement(store.items, ensemble.member_scores))

    def _ask_here(self, desk: "Desk", console: Console) -> None:
        from textrl_env.reward_models.feedback.desk import label_in_terminal

        label_in_terminal(desk, self.terminal, console)

    def _serve(self, desk: "Desk", console: Console, instructions: str) -> None:
        from textrl_env.reward_models.feedback.web import Access, allowed_hosts, links, listen, make_server

        access = Access(desk.store.setting("secret", ""), self.invite or None)
        listening = listen(self.host, self.port, access)
        hosts = allowed_hosts(self.host, self.allowed_hosts)
        address = (
            f"http://{_bracketed(hosts[0] if hosts[0] != 'localhost' else '127.0.0.1')}:{listening.getsockname()[1]}"
        )
        for who, link in links(address, access).items():
            console.print(f"{who}: {link}", highlight=False, soft_wrap=True)
        console.print("Ctrl-C ends; what was answered is saved.")
        server = make_server(desk, access=access, instructions=instructions, hosts=hosts)
        server.run(sockets=[listening])

    def _checked_instructions(self) -> str:
        """The annotators' guide; InputError where an option cannot be met, before anything is sampled."""
        from importlib.resources import files

        from textrl_env.reward_models.feedback.desk import name_fault

        if self.terminal:
            if fault := name_fault(self.terminal):
                raise InputError(f"terminal: {fault}")
            return ""
        try:
            from textrl_env.reward_models.feedback.web import Access, require_invitations
        except ModuleNotFoundError as error:
            raise InputError(f"the page needs {error.name}; run: pip install 'textrl-env[label]'") from None
        require_invitations(self.host, Access("", self.invite or None))
        if self.instructions is None:
            return (files("textrl_env.reward_models.feedback.web") / "instructions.md").read_text(encoding="utf-8")
        try:
            return self.instructions.read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            raise InputError(f"{self.instructions}: not readable as Markdown in UTF-8: {error}") from None


def _bracketed(host: str) -> str:
    """As it stands in an address: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host
