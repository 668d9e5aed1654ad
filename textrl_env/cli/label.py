"""`textrl label`, `export-labels` and `import-labels`: people judge completions, labels go out and in."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from textrl_env.data import OnBadRow, PromptDataset
from textrl_env.errors import InputError, require_at_least, require_count, require_seed, require_within
from textrl_env.pipeline import EndTokenOptions
from textrl_env.pipeline.option_paths import InputFile, OutputFile
from textrl_env.pipeline.runs import encode_fitting_prompts, require_model, require_path
from textrl_env.reward_models.feedback.exchange import LabelForm
from textrl_env.reward_models.feedback.store import Item, LabelTask
from textrl_env.reward_models.model import is_ensemble

if TYPE_CHECKING:
    from textrl_env.reward_models.feedback.desk import Desk
    from textrl_env.reward_models.feedback.store import Store


@dataclass(frozen=True)
class Label(EndTokenOptions):
    """Serves a page on which people compare, rank or rate completions. Without new ones it goes on with DATABASE."""

    prompts: InputFile | None = None
    """Prompts to sample completions for: JSONL, JSON, CSV or TXT."""
    policy: Path | None = None
    """The causal LM that completes them."""
    k: int = 4
    """Completions per prompt; at most 9 are ranked."""
    completions: InputFile | None = None
    """Completions that are there already: rows with prompt and completions, completion, or chosen and rejected."""
    task: LabelTask = "pair"
    """Compare two, rank all of a prompt, or rate one from 1 to 7."""
    database: OutputFile = Path("runs/labels.db")
    """Where the labels go; made if it is not there."""
    overlap: int = 1
    """Annotators per item."""
    repeats: float = 0.05
    """Share of answers asked a second time, unseen, to measure consistency."""
    reward_models: tuple[Path, ...] = ()
    """Reward models, or an ensemble: what they disagree about most comes first."""
    instructions: InputFile | None = None
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
    """Temperature of sampling."""
    seed: int = 0
    """Decides what is sampled, and the order of a new database."""
    on_bad_row: OnBadRow = "error"
    """What a bad row of a file does: stop, or be left out and counted."""

    def __post_init__(self) -> None:
        require_count(2 if self.task != "rating" else 1, k=self.k)
        require_count(1, overlap=self.overlap, max_new_tokens=self.max_new_tokens)
        require_within("[0, 1)", repeats=self.repeats)
        require_count(0, port=self.port)
        require_within("[0, 65535]", port=self.port)
        require_at_least(0, temperature=self.temperature)
        require_seed(self.seed)

    def run(self) -> None:
        """Adds the items, then serves until Ctrl-C."""
        from textrl_env.reward_models.feedback.desk import Desk, DeskConfig, label_in_terminal
        from textrl_env.reward_models.feedback.store import Store

        self._check_options()
        config = DeskConfig(overlap=self.overlap, repeats=self.repeats, seed=str(self.seed))
        instructions = self._read_instructions()
        if self.database.exists():
            Store(self.database).close()  # One that cannot be used is said before anything is sampled.
        items = self._make_items()
        if not items and not self.database.exists():
            raise InputError(f"{self.database}: not there yet; give --prompts and --policy, or --completions")
        store, console = Store(self.database), Console(highlight=False, soft_wrap=True)
        n_new = store.add_items(items) if items else 0
        if not store.items:
            raise InputError(f"{self.database}: nothing to label in it; give --prompts and --policy, or --completions")
        if self.reward_models:
            self._rank_by_disagreement(store)
        desk = Desk(store, config)
        console.print(f"{len(store.items)} items in {self.database}, {n_new} of them new")
        try:
            if self.terminal:
                label_in_terminal(desk, self.terminal, Console())
            else:
                self._serve(desk, console, instructions)
        except KeyboardInterrupt:
            pass
        desk.refresh()
        console.print(f"\n{desk.log.n_answers} labels in {self.database}")
        out = self.database.with_suffix(".jsonl")
        console.print(f"next: textrl export-labels --database {self.database} --out {out}")
        store.close()

    def _check_options(self) -> None:
        if self.prompts and not self.policy:
            raise InputError("prompts: say which model completes them (--policy runs/mine/sft), or give --completions")
        if len(self.reward_models) == 1 and not is_ensemble(self.reward_models[0]):
            raise InputError(
                f"reward_models: two or more can disagree, or one that is an ensemble, got {self.reward_models[0]}"
            )
        for path in self.reward_models:
            require_model(path, made_by="textrl reward-model")

    def _read_instructions(self) -> str:
        """Reads the annotators' guide; InputError where an option cannot be met, before anything is sampled."""
        from textrl_env.reward_models.feedback.store import name_fault

        if self.terminal:
            if fault := name_fault(self.terminal):
                raise InputError(f"terminal: {fault}")
            return ""
        try:
            from textrl_env.reward_models.feedback.web import Access, read_instructions, require_invitations
        except ModuleNotFoundError as error:
            raise InputError(f"the page needs {error.name}; run: pip install 'textrl-env[label]'") from None
        require_invitations(self.host, Access("", self.invite or None))
        return read_instructions(self.instructions)

    def _make_items(self) -> list[Item]:
        from textrl_env.reward_models.feedback.store import make_items, read_items

        items = read_items(self.completions, self.task, on_bad_row=self.on_bad_row) if self.completions else []
        if self.prompts and self.policy:
            dataset = PromptDataset.from_file(self.prompts, on_bad_row=self.on_bad_row)
            completions = self._sample(self.policy, dataset)
            items += [item for prompt, texts in completions for item in make_items(self.task, prompt, texts)]
        return items

    def _sample(self, policy: Path, dataset: PromptDataset) -> list[tuple[Any, list[str]]]:
        policy = require_model(policy, made_by="textrl sft")
        fitting = encode_fitting_prompts(
            policy, dataset, max_new_tokens=self.max_new_tokens, on_bad_row=self.on_bad_row
        )
        dataset, tokenizer = fitting.dataset, fitting.tokenizer

        from transformers import AutoModelForCausalLM

        from textrl_env.agents import sample_completions
        from textrl_env.lm import load_model

        samples = sample_completions(
            load_model(AutoModelForCausalLM, policy),
            tokenizer,
            list(dataset.prompts),
            n=self.k,
            seed=self.seed,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            eos_token_ids=self.eos_token_ids,
            description="completions",
        )
        return [
            (prompt, [completion.text for completion in completions])
            for prompt, completions in zip(dataset.prompts, samples, strict=True)
        ]

    def _rank_by_disagreement(self, store: "Store") -> None:
        from textrl_env.reward_models.feedback.desk import score_disagreement
        from textrl_env.reward_models.model import IndependentEnsemble, RewardEnsemble, load_reward_model

        first, *rest = map(load_reward_model, self.reward_models)
        ensemble = first if isinstance(first, RewardEnsemble) and not rest else IndependentEnsemble([first, *rest])
        store.set_disagreement(score_disagreement(store.items, ensemble.member_scores))

    def _serve(self, desk: "Desk", console: Console, instructions: str) -> None:
        from textrl_env.reward_models.feedback.web import (
            Access,
            allowed_hosts,
            listen,
            make_address,
            make_links,
            make_server,
        )

        access = Access(desk.store.setting("secret", ""), self.invite or None)
        listening = listen(self.host, self.port, access)
        hosts = allowed_hosts(self.host, self.allowed_hosts)
        for name, link in make_links(make_address(hosts, listening), access).items():
            console.print(f"{name}: {link}")
        console.print("Ctrl-C ends; what was answered is saved.")
        make_server(desk, access=access, instructions=instructions, hosts=hosts).run(sockets=[listening])


@dataclass(frozen=True)
class ExportLabels:
    """Writes labels as JSONL for `textrl reward-model`, `trl dpo` and `trl reward`, or as JSON for Label Studio."""

    database: InputFile = Path("runs/labels.db")
    """The database."""
    out: OutputFile = Path("runs/labels.jsonl")
    """The file to write; an earlier one is replaced."""
    form: LabelForm = "preferences"
    """Pairs with chosen and rejected; whole rankings; ratings; every event; or Label Studio's JSON."""
    keep_ties: bool = False
    """Ties are rows too, with tie true: right for textrl reward-model; TRL would take them for preferences."""

    def run(self) -> None:
        """Writes the file and prints what is in it."""
        require_path(self.database, made_by="textrl label")

        from textrl_env.reward_models.feedback.exchange import export_labels

        summary = export_labels(self.database, self.out, self.form, keep_ties=self.keep_ties)
        for path in summary.interfaces:
            print(f"labelling interface for Label Studio: {path}")
        ties = f"; {summary.n_ties} ties left out (--keep-ties)" if summary.n_ties else ""
        print(f"{summary.n_rows} rows of {self.form} in {self.out}{ties}")


@dataclass(frozen=True)
class ImportLabels:
    """Reads labels from elsewhere into a database; every row is checked first."""

    file: InputFile
    """A Label Studio export, JSON or JSONL, or rows."""
    source: Literal["label-studio", "rows"] = "label-studio"
    """What the file is: rows have annotator and chosen, rejected, or ranking, or completion, rating; status."""
    database: OutputFile = Path("runs/labels.db")
    """The database; made if it is not there."""
    prompt_column: str = "prompt"
    """The text field that holds the prompt."""
    completion_columns: tuple[str, ...] = ()
    """The text fields that hold the completions; by default completion_1, completion_2 and so on."""
    question: str = ""
    """Of a Label Studio project with several questions, the name of the control whose answers are read."""
    on_bad_row: OnBadRow = "error"
    """What a bad row does: stop before anything is written, or be left out and counted."""

    def run(self) -> None:
        """Writes what is new and prints how much that was."""
        from textrl_env.reward_models.feedback.exchange import TextColumns, import_labels

        columns = TextColumns(self.prompt_column, self.completion_columns)
        summary = import_labels(
            self.file,
            self.database,
            source=self.source,
            columns=columns,
            question=self.question,
            on_bad_row=self.on_bad_row,
        )
        if summary.n_superseded:
            print(f"{summary.n_superseded} answers were given anew by the same person later; the latest counts")
        print(f"{summary.n_answers} answers in {self.file}, {summary.n_new} of them new in {self.database}")
