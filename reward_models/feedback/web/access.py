"""Who is asking: invitations, sessions and CSRF tokens, all derived from the database's secret."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.desk import name_fault

OWNER = ""
"""Who sees the dashboard and labels nothing; no annotator can have this name."""


class Access:
    """Tokens that survive a restart, since nothing but the secret and the names is behind them.

    Args:
        secret: of the database.
        invited: the names that may label, each by its own link; None lets anybody in who gives a name.
    """

    def __init__(self, secret: str, invited: Sequence[str] | None = None) -> None:
        for name in invited or ():
            if fault := name_fault(name):
                raise InputError(f"invite: {fault}")
        self.invited = None if invited is None else tuple(dict.fromkeys(invited))
        self._secret = secret.encode()
        self.cookie_name = f"textrl_{self._mac('cookie')[:8]}"  # Cookies do not know ports: two desks on one machine.

    def invitation(self, name: str) -> str:
        """The token of somebody's link."""
        return self._mac("invite", name)

    def invited_by(self, token: str) -> str | None:
        """Whose invitation a token is."""
        names = () if self.invited is None else (OWNER, *self.invited)
        return next((name for name in names if _same(self.invitation(name), token)), None)

    def session(self, name: str) -> str:
        """The value of a signed-in person's cookie."""
        return f"{base64.urlsafe_b64encode(name.encode()).decode()}.{self._mac('session', name)}"

    def signed_in(self, cookie: str | None) -> str | None:
        """Whose session a cookie is; None for none, a forged one, and one who is not invited any more."""
        encoded, _, mac = (cookie or "").partition(".")
        try:
            name = base64.urlsafe_b64decode(encoded.encode()).decode()
        except (binascii.Error, UnicodeError):
            return None
        if not _same(self._mac("session", name), mac):
            return None
        return name if self.invited is None or name in (OWNER, *self.invited) else None

    def csrf(self, name: str | None) -> str:
        """What the pages of a person must send along with whatever they write."""
        return self._mac("csrf", "-" if name is None else f"+{name}")

    def is_csrf(self, name: str | None, token: str | None) -> bool:
        return _same(self.csrf(name), token or "")

    def sees_dashboard(self, name: str | None) -> bool:
        """On one's own machine everybody; else the owner."""
        return self.invited is None or name == OWNER

    def _mac(self, *parts: str) -> str:
        return hmac.new(self._secret, "\0".join(parts).encode(), hashlib.sha256).hexdigest()[:40]


def _same(ours: str, theirs: str) -> bool:
    return hmac.compare_digest(ours.encode(), theirs.encode("utf-8", "replace"))
