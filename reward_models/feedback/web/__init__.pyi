from .access import Access as Access
from .serve import (
    allowed_hosts as allowed_hosts,
    links as links,
    listen as listen,
    make_server as make_server,
    require_invitations as require_invitations,
)
