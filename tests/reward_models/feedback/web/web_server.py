"""A desk's server as a process of its own: database, port, number of pairs. Says `ready` when it listens."""

import resource
import sys

from textrl_env.reward_models.feedback.desk import Desk, DeskConfig
from textrl_env.reward_models.feedback.store import Item, Store
from textrl_env.reward_models.feedback.web import Access, allowed_hosts, listen, make_server

database, port, n_items, overlap, max_bytes = sys.argv[1], *map(int, sys.argv[2:6])
store = Store(database)
store.add_items(Item("pair", f"Question {number}?", ("one", "other")) for number in range(n_items))
desk = Desk(store, DeskConfig(overlap=overlap))
access = Access(store.setting("secret", ""))
listening = listen("127.0.0.1", port, access)
if max_bytes:
    # No file may grow beyond: what a full disk looks like to SQLite.
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, resource.RLIM_INFINITY))
print("ready", listening.getsockname()[1], flush=True)
make_server(desk, access=access, instructions="", hosts=allowed_hosts("127.0.0.1", ())).run(sockets=[listening])
