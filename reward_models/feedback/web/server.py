"""The server of the desk's application: addresses, links and the listening socket."""

import ipaddress
import socket
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import uvicorn

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.desk import Desk
from textrl_env.reward_models.feedback.web.access import OWNER, Access
from textrl_env.reward_models.feedback.web.app import make_app

LOOPBACK = ("localhost", "127.0.0.1", "::1")
BACKLOG = 2048


def listen(host: str, port: int, access: Access) -> socket.socket:
    """Opens a listening socket; port 0 takes a free one.

    Raises:
        InputError: the port is taken, or other machines would get in without an invitation.
    """
    require_invitations(host, access)
    if not 0 <= port <= 65_535:
        raise InputError(f"port must be in [0, 65535], got {port}")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise InputError(f"host {host}, port {port}: cannot listen there ({error}); choose another --port") from None


def require_invitations(host: str, access: Access) -> None:
    """Raises InputError where other machines would get in without an invitation."""
    if access.invitees is None and not is_loopback(host):
        raise InputError(f"host {host} lets other machines in: say who is invited, each gets a link (--invite ada ben)")


def is_loopback(host: str) -> bool:
    """True for a host that only this machine can reach."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allowed_hosts(host: str, further: Sequence[str]) -> list[str]:
    """Lists the names under which the desk may be asked for: `further` ones, and this machine's."""
    names = [] if is_loopback(host) else [_find_address(), socket.gethostname(), host]
    return list(dict.fromkeys([*further, *names, *LOOPBACK]))


def make_address(hosts: Sequence[str], listening: socket.socket) -> str:
    """Makes the address of the desk under the first of its hosts, such as `http://127.0.0.1:8765`; IPv6 in brackets."""
    host = hosts[0] if hosts[0] != "localhost" else "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"


def make_links(address: str, access: Access) -> dict[str, str]:
    """Makes the links to open, by whom: the desk itself, or one for each who is invited."""
    if access.invitees is None:
        return {"the desk": f"{address}/", "the dashboard": f"{address}/dashboard"}
    links = {name: f"{address}/?invite={access.invitation(name)}" for name in access.invitees}
    return {**links, "the dashboard": f"{address}/?invite={access.invitation(OWNER)}"}


def read_instructions(path: Path | None = None) -> str:
    """Reads the annotators' guide, Markdown in UTF-8; without a path, the general one."""
    if path is None:
        return (files("textrl_env.reward_models.feedback.web") / "instructions.md").read_text(encoding="utf-8")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise InputError(f"{path}: not readable as Markdown in UTF-8: {error}") from None


def make_server(desk: Desk, *, access: Access, instructions: str, hosts: Sequence[str]) -> uvicorn.Server:
    """Makes the server of a desk; `run(sockets=[listen(…)])` answers requests until Ctrl-C or `should_exit`."""
    app = make_app(desk, access=access, instructions=instructions, hosts=hosts)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, backlog=BACKLOG, timeout_graceful_shutdown=2
    )
    return uvicorn.Server(config)


def _find_address() -> str:
    """Finds this machine's address in its network; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address
