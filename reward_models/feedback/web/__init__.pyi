from .access import Access as Access
from .server import (
    allowed_hosts as allowed_hosts,
    listen as listen,
    make_address as make_address,
    make_links as make_links,
    make_server as make_server,
    read_instructions as read_instructions,
    require_invitations as require_invitations,
)
