"""Access to the desk: invitations, sessions and CSRF tokens, all derived from the database's secret."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.store import name_fault

OWNER = ""
"""The name of the person who sees the dashboard and labels nothing; no annotator can have it."""


class Access:
    """Tokens that survive a restart, since nothing but the secret and the names is behind them.

    Args:
        secret: of the database.
        invitees: the names that may label, each by its own link; None lets anybody in who gives a name.
    """

    def __init__(self, secret: str, invitees: Sequence[str] | None = None) -> None:
        for name in invitees or ():
            if fault := name_fault(name):
                raise InputError(f"invite: {fault}")
        self.invitees = None if invitees is None else tuple(dict.fromkeys(invitees))
        self._secret = secret.encode()
        self.cookie_name = f"textrl_{self._mac('cookie')[:8]}"  # Cookies do not know ports: two desks on one machine.

    def invitation(self, name: str) -> str:
        """Makes the token of somebody's link."""
        return self._mac("invite", name)

    def invitee(self, token: str) -> str | None:
        """Finds the name that an invitation's token belongs to; None where it is forged or withdrawn."""
        names = () if self.invitees is None else (OWNER, *self.invitees)
        return next((name for name in names if _is_same(self.invitation(name), token)), None)

    def session(self, name: str) -> str:
        """Makes the value of a signed-in person's cookie."""
        return f"{base64.urlsafe_b64encode(name.encode()).decode()}.{self._mac('session', name)}"

    def session_name(self, cookie: str | None) -> str | None:
        """Finds the name that a cookie belongs to; None for no cookie, a forged one, or a withdrawn invitation."""
        payload, _, mac = (cookie or "").partition(".")
        try:
            name = base64.urlsafe_b64decode(payload.encode()).decode()
        except (binascii.Error, UnicodeError):
            return None
        if not _is_same(self._mac("session", name), mac):
            return None
        return name if self.invitees is None or name in (OWNER, *self.invitees) else None

    def csrf(self, name: str | None) -> str:
        """Makes the token that a person's pages must send along with all they write."""
        return self._mac("csrf", "-" if name is None else f"+{name}")

    def is_csrf(self, name: str | None, token: str | None) -> bool:
        """True where `token` is the person's CSRF token."""
        return _is_same(self.csrf(name), token or "")

    def sees_dashboard(self, name: str | None) -> bool:
        """True for everybody on one's own machine, else for the owner."""
        return self.invitees is None or name == OWNER

    def _mac(self, *parts: str) -> str:
        return hmac.new(self._secret, "\0".join(parts).encode(), hashlib.sha256).hexdigest()[:40]


def _is_same(token: str, candidate: str) -> bool:
    return hmac.compare_digest(token.encode(), candidate.encode("utf-8", "replace"))
