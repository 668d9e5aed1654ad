"""Labels that arrive together are committed together: one wait for the disk, not one each."""

import asyncio

from textrl_env.reward_models.feedback.desk import Event, StorageError, Store

MAX_BATCH = 500


class Writer:
    """Appends from a thread, so that pages are served while the disk is waited for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: asyncio.Queue[tuple[Event, asyncio.Future[bool]]] = asyncio.Queue()

    async def append(self, event: Event) -> bool:
        """As `Store.append` of one event: returns after the commit."""
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((event, done))
        return await done

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            batch = [await self._waiting.get()]
            while not self._waiting.empty() and len(batch) < MAX_BATCH:
                batch.append(self._waiting.get_nowait())
            outcome: list[bool] | StorageError
            try:
                outcome = await asyncio.to_thread(self._store.append, [event for event, _ in batch])
            except StorageError as error:
                outcome = error
            for number, (_, done) in enumerate(batch):
                if done.cancelled():
                    continue
                if isinstance(outcome, StorageError):
                    done.set_exception(StorageError(str(outcome)))
                else:
                    done.set_result(outcome[number])
