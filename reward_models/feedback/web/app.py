"""The desk's routes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.desk import Conflict, Desk, Event, StorageError, name_fault
from textrl_env.reward_models.feedback.web.access import OWNER, Access
from textrl_env.reward_models.feedback.web.gate import Gate, posted
from textrl_env.reward_models.feedback.web.pages import Pages
from textrl_env.reward_models.feedback.web.writer import Writer

SCRIPTS = ("desk.js", "question.js", "ranking.js", "server.js", "dashboard.js")
ASSETS = {"style.css": "text/css", **dict.fromkeys(SCRIPTS, "text/javascript")}


def make_app(desk: Desk, *, access: Access, instructions: str, hosts: Sequence[str]) -> Starlette:
    """The ASGI application of a desk.

    Args:
        desk: the desk.
        access: who may do what.
        instructions: for annotators, in Markdown.
        hosts: names, without a port, under which it may be asked for.
    """
    routes = _Routes(desk, access, Pages(desk, access, instructions))
    folder = files("textrl_env.reward_models.feedback.web")
    return Starlette(
        routes=[
            Route("/", routes.welcome),
            Route("/session", routes.sign_in, methods=["POST"]),
            Route("/label", routes.label),
            Route("/answers", routes.answer, methods=["POST"]),
            Route("/undo", routes.undo, methods=["POST"]),
            Route("/instructions", routes.guide),
            Route("/dashboard", routes.dashboard),
            Route("/dashboard/figures", routes.figures),
            *(Route(f"/{name}", _asset((folder / name).read_bytes(), kind)) for name, kind in ASSETS.items()),
        ],
        middleware=[Middleware(Gate, hosts=hosts)],
        exception_handlers={
            HTTPException: routes.refused,
            InputError: routes.refused,
            Exception: routes.refused,
        },
        lifespan=routes.lifespan,
    )


def _asset(content: bytes, kind: str) -> Any:
    async def serve(request: Request) -> Response:
        return Response(content, media_type=kind)

    return serve


class _Routes:
    def __init__(self, desk: Desk, access: Access, pages: Pages) -> None:
        self.desk, self.access, self.pages = desk, access, pages
        self.writer = Writer(desk.store)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        writing = asyncio.create_task(self.writer.run())
        yield
        writing.cancel()

    async def welcome(self, request: Request) -> Response:
        if token := request.query_params.get("invite"):
            name = self.access.invited_by(token)
            if name is None:
                raise HTTPException(403, "this invitation is not valid here, or not any more; ask for a new link")
            # The link's token goes out of the address bar.
            return self._with_session(RedirectResponse("/dashboard" if name == OWNER else "/label", 303), name)
        return HTMLResponse(self.pages.welcome(self._name(request)))

    async def sign_in(self, request: Request) -> Response:
        body = await self._written(request, self._name(request))
        if self.access.invited is not None:
            raise HTTPException(403, "this desk is by invitation; open the link you were sent")
        name = body.get("name")
        if fault := name_fault(name):
            raise InputError(fault)
        return self._with_session(JSONResponse({"go": "/label"}), str(name))

    async def label(self, request: Request) -> Response:
        if not (name := self._name(request)):
            return RedirectResponse("/", 303)
        self.desk.refresh()
        return HTMLResponse(self.pages.label(name))

    async def answer(self, request: Request) -> Response:
        name = self._annotator(request)
        body = await self._written(request, name)
        event = self.desk.known(name, body.get("submission"))
        if event is None:
            event = await self._save(self.desk.answer(name, body))
        return self._next(name, event)

    async def undo(self, request: Request) -> Response:
        name = self._annotator(request)
        submission = (await self._written(request, name)).get("submission")
        event = self.desk.known(name, submission) or await self._save(self.desk.undo(name, submission))
        return self._next(name, event)

    async def guide(self, request: Request) -> Response:
        return HTMLResponse(self.pages.guide(self._name(request)))

    async def dashboard(self, request: Request) -> Response:
        self._may_see_dashboard(request)
        return HTMLResponse(self.pages.dashboard(self._name(request)))

    async def figures(self, request: Request) -> Response:
        self._may_see_dashboard(request)
        return HTMLResponse(self.pages.figures())

    async def refused(self, request: Request, error: Exception) -> Response:
        """An error as its reader can use it: JSON for scripts, a page for people."""
        match error:
            case HTTPException():
                status, text = error.status_code, error.detail
            case Conflict():
                status, text = 409, str(error)
            case StorageError():
                status, text = 507, str(error)
            case InputError():
                status, text = 422, str(error)
            case _:
                status, text = 500, "something went wrong here; the terminal that runs the desk says what"
        if request.method not in ("GET", "HEAD"):
            return JSONResponse({"error": text}, status)
        title = "There is no such page" if status == 404 else "That did not work"
        return HTMLResponse(self.pages.message(title, text, self._name(request)), status)

    def _name(self, request: Request) -> str | None:
        return self.access.signed_in(request.cookies.get(self.access.cookie_name))

    def _annotator(self, request: Request) -> str:
        if not (name := self._name(request)):
            raise HTTPException(401, "sign in first: load the page again")
        return name

    def _may_see_dashboard(self, request: Request) -> None:
        if not self.access.sees_dashboard(self._name(request)):
            raise HTTPException(403, "the dashboard is for the owner of the desk; the terminal shows the link to it")
        self.desk.refresh()

    async def _written(self, request: Request, name: str | None) -> dict[str, Any]:
        if not self.access.is_csrf(name, request.headers.get("x-csrf-token")):
            raise HTTPException(403, "the page is out of date: load it again")
        return await posted(request)

    async def _save(self, event: Event) -> Event:
        return self.desk.settle(event, await self.writer.append(event))

    def _next(self, name: str, event: Event) -> Response:
        return JSONResponse({"saved": event.id, "kind": event.kind, "question": self.pages.question(name)})

    def _with_session(self, response: Response, name: str) -> Response:
        # Lax, not Strict: an invitation is opened from a mail, and the page behind it needs the cookie at once.
        response.set_cookie(
            self.access.cookie_name, self.access.session(name), httponly=True, samesite="lax", max_age=180 * 86_400
        )
        return response
