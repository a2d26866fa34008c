"""One instance of an endpoint: a model server and the threads that send it requests."""

from __future__ import annotations

import logging
import threading

from local.sagemaker.async_inference.backlog import Backlog
from local.sagemaker.async_inference.metrics import EndpointMetrics
from local.sagemaker.async_inference.processing import Abandoned, NotDelivered, process
from local.sagemaker.hosting.model_servers import ModelServer
from local.sagemaker.ports import Access

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.2


class Instance:
    """Takes requests off the backlog while its server is healthy, `concurrency` at a time."""

    def __init__(
        self, server: ModelServer, concurrency: int, backlog: Backlog, access: Access, metrics: EndpointMetrics
    ) -> None:
        self.server = server
        self._backlog = backlog
        self._access = access
        self._metrics = metrics
        self._retired = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name=f"{server.name}-{n}", daemon=True) for n in range(concurrency)
        ]

    def open(self) -> None:
        """Begin to take requests."""
        for thread in self._threads:
            thread.start()

    def retire(self) -> None:
        """Take no further request; those in process continue."""
        self._retired.set()

    @property
    def idle(self) -> bool:
        """Whether no request is in process any more, after `retire`."""
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while not self._retired.is_set():
            if not self.server.healthy:
                self._retired.wait(_POLL_SECONDS)
                continue
            queued = self._backlog.take(_POLL_SECONDS, self._retired)
            if queued is None:
                continue
            try:
                process(queued, self.server, self._access, self._metrics)
            except NotDelivered:
                self.server.mark_unhealthy()
                self._backlog.give_back(queued)
            except Abandoned:
                _log.info("invocation %s ended with its endpoint", queued.invocation.inference_id)
                self._backlog.done(queued)
            except Exception:
                # A bug in this program must neither end the thread nor stay unnoticed.
                _log.exception("invocation %s was lost", queued.invocation.inference_id)
                self._backlog.done(queued)
            else:
                self._backlog.done(queued)
