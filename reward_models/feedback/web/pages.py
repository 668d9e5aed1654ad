"""HTML from templates; every text is escaped, and a completion is never anything but text."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from textrl_env.data.text import printable
from textrl_env.reward_models.feedback.desk import N_POINTS, REASONS, TAGS, Desk, Question, figures
from textrl_env.reward_models.feedback.web.access import Access

TAG_KEYS, REASON_KEYS = "qwer", "zxcv"


class Pages:
    """The pages of a desk.

    Args:
        desk: what they show.
        access: who may see what.
        instructions: Markdown; HTML in it is shown as text.
    """

    def __init__(self, desk: Desk, access: Access, instructions: str) -> None:
        self.desk, self.access, self.instructions = desk, access, instructions
        self._drawn = (-1, "")
        self._environment = Environment(
            loader=PackageLoader("textrl_env.reward_models.feedback.web", "."),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"printable": printable, "percent": percent, "seconds": seconds}
        tags, reasons = (list(zip(*each, strict=True)) for each in ((TAGS, TAG_KEYS), (REASONS, REASON_KEYS)))
        self._environment.globals |= {
            "tags": tags,
            "reasons": reasons,
            "points": range(1, N_POINTS + 1),
            # The same on every card: rendered once.
            "tag_chips": Markup(self._fragment("chips.html", kind="tag", chips=tags)),
            "reason_chips": Markup(self._fragment("chips.html", kind="reason", chips=reasons)),
        }

    def welcome(self, name: str | None) -> str:
        return self._render("welcome.html", name)

    def label(self, name: str) -> str:
        return self._render("label.html", name, fragment=Markup(self.question(name)))

    def question(self, name: str) -> str:
        """What is swapped in after every answer."""
        question, progress = self.desk.question(name), self.desk.progress(name)
        return self._fragment(
            "question.html", question=question, messages=messages(question) if question else [], progress=progress,
            name=name, sees_dashboard=self.access.sees_dashboard(name),
        )  # fmt: skip

    def guide(self, name: str | None) -> str:
        markdown = MarkdownIt("commonmark", {"html": False}).disable("image")
        return self._render("guide.html", name, body=Markup(markdown.render(printable(self.instructions))))

    def dashboard(self, name: str | None) -> str:
        return self._render("dashboard.html", name, fragment=Markup(self.figures()))

    def figures(self) -> str:
        """The part of the dashboard that is refreshed; drawn anew only when something was answered."""
        if self._drawn[0] == self.desk.log.last_id:
            return self._drawn[1]
        found = figures(self.desk.log, self.desk.store.items, overlap=self.desk.plan.overlap)
        self._drawn = self.desk.log.last_id, self._fragment("figures.html", figures=found, plan=self.desk.plan)
        return self._drawn[1]

    def message(self, title: str, text: str, name: str | None) -> str:
        return self._render("message.html", name, title=title, text=text)

    def _render(self, template: str, name: str | None, **values: Any) -> str:
        return self._fragment(
            template, name=name, csrf=self.access.csrf(name), by_name=self.access.invited is None,
            sees_dashboard=self.access.sees_dashboard(name), **values,
        )  # fmt: skip

    def _fragment(self, template: str, **values: Any) -> str:
        return self._environment.get_template(template).render(values)


def messages(question: Question) -> list[tuple[str, str]]:
    """Role and text of what a question's prompt holds; a plain prompt has the role `prompt`."""
    prompt = question.item.prompt
    if isinstance(prompt, str):
        return [("prompt", prompt)] if prompt else []
    return [(message["role"], message["content"]) for message in prompt]


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}%"


def seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
