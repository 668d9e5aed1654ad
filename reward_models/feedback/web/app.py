"""The desk's application: its routes, and the writer that commits labels."""

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
from textrl_env.reward_models.feedback.desk import AnswerConflictError, Desk
from textrl_env.reward_models.feedback.store import LabelEvent, StorageError, Store, name_fault
from textrl_env.reward_models.feedback.web.access import OWNER, Access
from textrl_env.reward_models.feedback.web.page_templates import Pages
from textrl_env.reward_models.feedback.web.request_gate import Gate, read_body

SCRIPTS = ("desk.js", "question.js", "ranking.js", "server.js", "dashboard.js")
ASSETS = {"style.css": "text/css", **dict.fromkeys(SCRIPTS, "text/javascript")}
MAX_BATCH = 500
"""Labels that are committed together, at most."""


def make_app(desk: Desk, *, access: Access, instructions: str, hosts: Sequence[str]) -> Starlette:
    """Makes the ASGI application of a desk.

    Args:
        desk: the desk.
        access: invitations and sessions.
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
        exception_handlers=dict.fromkeys((HTTPException, InputError, Exception), routes.show_error),
        lifespan=routes.lifespan,
    )


def _asset(content: bytes, kind: str) -> Any:
    async def serve(request: Request) -> Response:
        return Response(content, media_type=kind)

    return serve


class Writer:
    """Appends from a thread, so that pages are served while the disk is waited for.

    Labels that arrive together are committed together: one wait for the disk, not one each.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: asyncio.Queue[tuple[LabelEvent, asyncio.Future[bool]]] = asyncio.Queue()

    async def append(self, event: LabelEvent) -> bool:
        """Writes one event; returns after the commit whether it is new. Raises StorageError."""
        outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((event, outcome))
        return await outcome

    async def run(self) -> None:
        """Commits what `append` hands over, until it is cancelled."""
        while True:
            batch = [await self._queue.get()]
            while not self._queue.empty() and len(batch) < MAX_BATCH:
                batch.append(self._queue.get_nowait())
            results: list[bool] | StorageError
            try:
                results = await asyncio.to_thread(self._store.append, [event for event, _ in batch])
            except StorageError as error:
                results = error
            for number, (_, outcome) in enumerate(batch):
                if outcome.cancelled():
                    continue
                if isinstance(results, StorageError):
                    outcome.set_exception(StorageError(str(results)))
                else:
                    outcome.set_result(results[number])


class _Routes:
    def __init__(self, desk: Desk, access: Access, pages: Pages) -> None:
        self.desk, self.access, self.pages = desk, access, pages
        self.writer = Writer(desk.store)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(self.writer.run())
        yield
        task.cancel()

    async def welcome(self, request: Request) -> Response:
        if token := request.query_params.get("invite"):
            name = self.access.invitee(token)
            if name is None:
                raise HTTPException(403, "this invitation is not valid here, or not any more; ask for a new link")
            # The link's token goes out of the address bar.
            return self._with_session(RedirectResponse("/dashboard" if name == OWNER else "/label", 303), name)
        return HTMLResponse(self.pages.welcome(self._name(request)))

    async def sign_in(self, request: Request) -> Response:
        body = await self._read_body(request, self._name(request))
        if self.access.invitees is not None:
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
        body = await self._read_body(request, name)
        event = self.desk.find_submission(name, body.get("submission"))
        if event is None:
            event = await self._save(self.desk.answer(name, body))
        return self._next(name, event)

    async def undo(self, request: Request) -> Response:
        name = self._annotator(request)
        submission = (await self._read_body(request, name)).get("submission")
        event = self.desk.find_submission(name, submission) or await self._save(self.desk.undo(name, submission))
        return self._next(name, event)

    async def guide(self, request: Request) -> Response:
        return HTMLResponse(self.pages.guide(self._name(request)))

    async def dashboard(self, request: Request) -> Response:
        self._check_sees_dashboard(request)
        return HTMLResponse(self.pages.dashboard(self._name(request)))

    async def figures(self, request: Request) -> Response:
        self._check_sees_dashboard(request)
        return HTMLResponse(self.pages.figures())

    async def show_error(self, request: Request, error: Exception) -> Response:
        """Answers with an error as its reader can use it: JSON for scripts, a page for people."""
        match error:
            case HTTPException():
                status, text = error.status_code, error.detail
            case AnswerConflictError():
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
        return self.access.session_name(request.cookies.get(self.access.cookie_name))

    def _annotator(self, request: Request) -> str:
        if not (name := self._name(request)):
            raise HTTPException(401, "sign in first: load the page again")
        return name

    def _check_sees_dashboard(self, request: Request) -> None:
        if not self.access.sees_dashboard(self._name(request)):
            raise HTTPException(403, "the dashboard is for the owner of the desk; the terminal shows the link to it")
        self.desk.refresh()

    async def _read_body(self, request: Request, name: str | None) -> dict[str, Any]:
        if not self.access.is_csrf(name, request.headers.get("x-csrf-token")):
            raise HTTPException(403, "the page is out of date: load it again")
        return await read_body(request)

    async def _save(self, event: LabelEvent) -> LabelEvent:
        return self.desk.settle(event, is_new=await self.writer.append(event))

    def _next(self, name: str, event: LabelEvent) -> Response:
        return JSONResponse({"saved": event.id, "kind": event.kind, "question": self.pages.question(name)})

    def _with_session(self, response: Response, name: str) -> Response:
        # Lax, not Strict: an invitation is opened from a mail, and the page behind it needs the cookie at once.
        cookie = self.access.session(name)
        response.set_cookie(self.access.cookie_name, cookie, httponly=True, samesite="lax", max_age=180 * 86_400)
        return response
