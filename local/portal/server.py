"""The portal as an HTTP server on 127.0.0.1."""

from __future__ import annotations

import socket

from local.portal.application import BODY_BYTES, Application
from local.sagemaker.ground_truth.labeling_jobs import LabelingJobs
from local.web.server import PageServer, hosts_of


class Portal(PageServer):
    """Serves the jobs' tasks from `start` to `close`; `listener` is a socket that listens on 127.0.0.1."""

    def __init__(self, jobs: LabelingJobs, listener: socket.socket) -> None:
        application = Application(jobs, hosts_of(listener))
        super().__init__("worker-portal", listener, application.respond, body_bytes=BODY_BYTES)
