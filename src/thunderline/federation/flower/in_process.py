"""A Flower grid inside one process: the same apps as under SuperLink, without its processes."""

import copy
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from typing_extensions import override

from thunderline.federation.checkpoint import Examples
from thunderline.federation.flower.client_app import make_client_app
from thunderline.federation.flower.server_app import make_server_app
from thunderline.federation.round import Progress, RunPlan

_RUN = 1


class InProcessGrid(Grid):
    """Nodes are threads; a message that is lost, or late, simply has no reply."""

    def __init__(
        self,
        app: ClientApp,
        nodes: Iterable[int],
        *,
        workers: int = 2,
        is_lost: Callable[[Message], bool] = lambda _: False,
    ) -> None:
        """Make the nodes.

        Args:
            app: what each node runs.
            nodes: their numbers, also their ``partition-id``; node ids are these plus one.
            workers: threads.
            is_lost: for tests: messages that never arrive.
        """
        # Flower's Message() asks who it is; in a SuperLink run its launcher sets this
        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = _RUN
        self._app, self._is_lost = app, is_lost
        self._run = Run.create_empty(_RUN)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="node")
        self._count = itertools.count(1)
        self._pending: dict[str, Future[Message | None]] = {}
        self._contexts = {
            number + 1: Context(
                run_id=_RUN,
                node_id=number + 1,
                state=RecordDict(),
                run_config={},
                node_config={"partition-id": number},
            )
            for number in nodes
        }

    @override
    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    @override
    def run(self) -> Run:
        return self._run

    @override
    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    @override
    def get_node_ids(self) -> Iterable[int]:
        return list(self._contexts)

    @override
    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        pushed = []
        for message in messages:
            identity = f"m{next(self._count)}"
            self._pending[identity] = self._pool.submit(self._deliver, message, identity)
            pushed.append(identity)
        return pushed

    def _deliver(self, message: Message, identity: str) -> Message | None:
        if self._is_lost(message):
            return None
        node = message.metadata.dst_node_id
        message.metadata.__dict__["_message_id"] = identity
        message.__dict__["_content"] = copy.deepcopy(message.content)  # nodes must not share records
        try:
            reply = self._app(message, self._contexts[node])
        except Exception as error:  # noqa: BLE001 -- whatever a node does wrong is its error reply, as under SuperLink
            reply = Message(Error(code=2, reason=repr(error)), reply_to=message)
        reply.metadata.__dict__["_src_node_id"] = node
        return reply

    @override
    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        found = []
        for identity in list(message_ids):
            future = self._pending.get(identity)
            if future is not None and future.done():
                del self._pending[identity]
                reply = future.result()
                if reply is not None:
                    found.append(reply)
        return found

    @override
    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        identities = list(self.push_messages(messages))
        wait([self._pending[one] for one in identities], timeout=timeout)
        found = self.pull_messages(identities)
        for identity in identities:
            late = self._pending.pop(identity, None)
            if late is not None:
                late.cancel()  # not even begun: it would only keep the next round's clients waiting
        return found

    def close(self) -> None:
        """Let the threads end; one that hangs is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def run_in_process(plan: RunPlan, progress: Progress, clients: Mapping[int, Examples]) -> None:
    """Run a federation's rounds with every client as a thread of this process.

    Args:
        plan: which rounds, from which arrays, how.
        progress: told of every step; decides whether the next round begins.
        clients: each client's examples, by its number.

    Raises:
        InvalidInput: too few clients, or a strategy that is not installed.
        RoundFailed: a round came to nothing.
    """
    flower_log = logging.getLogger("flwr")
    flower_log.handlers.clear()  # coloured lines of its own, beside our JSON
    flower_log.setLevel(logging.WARNING)
    grid = InProcessGrid(make_client_app(clients.__getitem__), clients)
    context = Context(run_id=_RUN, node_id=0, node_config={}, state=RecordDict(), run_config={})
    try:
        make_server_app(plan, progress)(grid, context)
    finally:
        grid.close()
