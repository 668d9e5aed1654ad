"""HTML from templates; every text is escaped, and a completion is never anything but text."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from textrl_env.data.text.display import message_text, printable
from textrl_env.reward_models.feedback.desk import Desk, DeskQuestion, compute_dashboard
from textrl_env.reward_models.feedback.store import Judgement
from textrl_env.reward_models.feedback.web.access import Access

TAG_KEYS, REASON_KEYS = "qwer", "zxcv"


class Pages:
    """The pages of a desk.

    Args:
        desk: the desk that they show.
        access: decides who may see the dashboard.
        instructions: Markdown; HTML in it is shown as text.
    """

    def __init__(self, desk: Desk, access: Access, instructions: str) -> None:
        self.desk, self.access, self.instructions = desk, access, instructions
        self._figures = (-1, "")
        self._environment = Environment(
            loader=PackageLoader("textrl_env.reward_models.feedback.web", "."),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"printable": printable, "percent": format_share, "seconds": format_seconds}
        tags = list(zip(Judgement.TAGS, TAG_KEYS, strict=True))
        reasons = list(zip(Judgement.REASONS, REASON_KEYS, strict=True))
        self._environment.globals |= {
            "tags": tags,
            "reasons": reasons,
            "points": range(1, Judgement.N_POINTS + 1),
            # The same on every card: rendered once.
            "tag_chips": Markup(self._fragment("chips.html", kind="tag", chips=tags)),
            "reason_chips": Markup(self._fragment("chips.html", kind="reason", chips=reasons)),
        }

    def welcome(self, name: str | None) -> str:
        """Renders the page on which somebody gives a name."""
        return self._render("welcome.html", name)

    def label(self, name: str) -> str:
        """Renders the page on which somebody labels."""
        return self._render("label.html", name, fragment=Markup(self.question(name)))

    def question(self, name: str) -> str:
        """Renders somebody's question, the part that is swapped in after every answer."""
        question = self.desk.question(name)
        return self._fragment(
            "question.html",
            question=question,
            messages=prompt_messages(question) if question else [],
            progress=self.desk.progress(name),
            name=name,
            sees_dashboard=self.access.sees_dashboard(name),
        )

    def guide(self, name: str | None) -> str:
        """Renders the instructions."""
        markdown = MarkdownIt("commonmark", {"html": False}).disable("image")
        return self._render("guide.html", name, body=Markup(markdown.render(printable(self.instructions))))

    def dashboard(self, name: str | None) -> str:
        """Renders the dashboard."""
        return self._render("dashboard.html", name, fragment=Markup(self.figures()))

    def figures(self) -> str:
        """Renders the part of the dashboard that is refreshed; anew only when something was answered."""
        if self._figures[0] == self.desk.log.last_id:
            return self._figures[1]
        overlap = self.desk.config.overlap
        figures = compute_dashboard(self.desk.log, self.desk.store.items, overlap=overlap)
        self._figures = self.desk.log.last_id, self._fragment("figures.html", figures=figures, overlap=overlap)
        return self._figures[1]

    def message(self, title: str, text: str, name: str | None) -> str:
        """Renders a page that says one thing, such as an error."""
        return self._render("message.html", name, title=title, text=text)

    def _render(self, template: str, name: str | None, **values: Any) -> str:
        access = self.access
        values |= {"name": name, "csrf": access.csrf(name), "by_name": access.invitees is None}
        return self._fragment(template, sees_dashboard=access.sees_dashboard(name), **values)

    def _fragment(self, template: str, **values: Any) -> str:
        return self._environment.get_template(template).render(values)


def prompt_messages(question: DeskQuestion) -> list[tuple[str, str]]:
    """Lists role and text of the messages in a question's prompt; a plain prompt has the role `prompt`."""
    prompt = question.item.prompt
    if isinstance(prompt, str):
        return [("prompt", prompt)] if prompt else []
    return [(message["role"], message_text(message)) for message in prompt]


def format_share(share: float | None) -> str:
    """Formats a share in [0, 1] as a percentage; a dash for None."""
    return "-" if share is None else f"{100 * share:.0f}%"


def format_seconds(value: float | None) -> str:
    """Formats seconds, with a decimal below ten; a dash for None."""
    return "-" if value is None else f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
