"""Client of the part of Label Studio's HTTP API that verification jobs need (api.labelstud.io; checked with 1.23.2).

It uses urllib3, which botocore brings, because Label Studio's own SDK needs pandas, which the layer does not ship.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
import urllib3

from autolabel.contracts.errors import VerificationRefused, VerificationUnavailable, printable
from autolabel.contracts.wording import counted
from autolabel.verification.label_studio.connection import Connection
from autolabel.verification.label_studio.results import Task

# The largest answer is a page of tasks with their annotations; all others are much smaller.
MAX_ANSWER = 256 * 1024 * 1024
# Tasks on a page: with their annotations, and without.
FULL_PAGE = 100
LIGHT_PAGE = 500
# The requested fields, both of tasks and of the objects in them.
_LIGHT = "id,data"
_FULL = "id,data,annotations,result,was_cancelled,updated_at,completed_by,lead_time"
# The actions that can complete a job. Deleting the last open task completes it too.
ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED", "ANNOTATIONS_DELETED", "TASKS_DELETED")
# Editions other than the open-source one import in the background.
_IMPORT_LOOKS = 120
_IMPORT_SECONDS = 1.0
_BUSY = (429, 500, 502, 503, 504)

Answer = TypeVar("Answer")
Filter = tuple[str, str, str, Any]


class Named(msgspec.Struct, frozen=True):
    """A project in a list."""

    id: int
    title: str = ""


class RegisteredWebhook(msgspec.Struct, frozen=True):
    id: int
    url: str
    headers: dict[str, str] = {}
    is_active: bool = True


class ConnectedStorage(msgspec.Struct, frozen=True):
    id: int
    bucket: str | None = None


class _Projects(msgspec.Struct):
    results: list[Named]
    next: str | None = None


class _Tasks(msgspec.Struct):
    tasks: list[Task]
    total: int


class _Import(msgspec.Struct):
    """Either how many tasks were taken, or the background job that takes them."""

    task_count: int | None = None
    background: int | None = msgspec.field(default=None, name="import")


class _ImportState(msgspec.Struct):
    status: str = ""
    error: str | None = None


class _Access(msgspec.Struct):
    access: str


class _Problem(msgspec.Struct):
    detail: Any = None
    validation_errors: Any = None


def equal(field: str, value: str) -> Filter:
    return field, "equal", "String", value


# Tasks that are neither answered nor skipped.
OPEN: tuple[Filter, ...] = (
    ("total_annotations", "equal", "Number", 0),
    ("cancelled_annotations", "equal", "Number", 0),
)


# Tasks that fewer people have answered or skipped than the project asks for; other tasks have a time of completion.
INCOMPLETE: tuple[Filter, ...] = (("completed_at", "empty", "Datetime", True),)


class LabelStudioClient:
    """Calls one Label Studio with one account.

    Every method raises VerificationUnavailable when Label Studio is down, slow or overloaded, and VerificationRefused,
    with what to change, when it refuses a call. The messages contain no secret. Reads are repeated, writes are not:
    the caller first checks whether a write was carried out.
    """

    def __init__(
        self,
        connection: Connection,
        secret: str,
        *,
        connect_seconds: float = 5.0,
        read_seconds: float = 60.0,
        retries: int = 3,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Connect. `secret`: the name of the secret that the connection was read from, for messages."""
        self.connection = connection
        self._secret = secret
        self._url = connection.url.rstrip("/")
        self._pause = pause
        reads = urllib3.Retry(
            total=retries,
            allowed_methods=["GET"],
            status_forcelist=_BUSY,
            backoff_factor=0.5,
            backoff_max=8,
            # If Label Studio asks for a longer pause, the state machine repeats the call later.
            retry_after_max=8,
            raise_on_status=False,
        )
        timeout = urllib3.Timeout(connect=connect_seconds, read=read_seconds)
        self._http = urllib3.PoolManager(retries=reads, timeout=timeout)
        # A personal access token is a JWT that is exchanged for access tokens of a few minutes; a legacy token is not.
        self._personal = connection.token.count(".") == 2
        self._access = ""

    def find_projects(self, title: str) -> list[Named]:
        """Return the projects with exactly this title, the oldest first."""
        found: list[Named] = []
        page = 1
        while True:
            # Label Studio's filter also finds titles that contain this one, and ignores case.
            listed = self._get("/api/projects/", _Projects, title=title, include="id,title", page_size=100, page=page)
            found += [project for project in listed.results if project.title == title]
            if not listed.next:
                return sorted(found, key=lambda project: project.id)
            page += 1

    def create_project(self, fields: Mapping[str, Any]) -> int:
        return self._call("POST", "/api/projects/", Named, fields).id

    def delete_project(self, project: int) -> None:
        self._delete(f"/api/projects/{project}/")

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> None:
        """Import tasks in their order, and return when they are in the project."""
        taken = self._call("POST", f"/api/projects/{project}/import", _Import, tasks)
        if taken.background is None:
            return
        for _ in range(_IMPORT_LOOKS):
            state = self._get(f"/api/projects/{project}/imports/{taken.background}", _ImportState)
            if state.status == "completed":
                return
            if state.status == "failed":
                raise VerificationRefused("import", f"{self._url} could not import tasks: {state.error}")
            # Label Studio sends no notification when an import is done, so we ask again.
            self._pause(_IMPORT_SECONDS)
        raise VerificationUnavailable(f"{self._url} has not finished an import of {counted(len(tasks), 'task')}")

    def tasks(self, project: int, filters: Sequence[Filter] = ()) -> Iterator[Task]:
        """Yield a project's tasks without annotations, in the order of their ids, which is their import order."""
        last = 0
        while True:
            # Pages by the last id and not by number: deleting a task would move the start of the next page.
            page = self._tasks(project, _query(("id", "greater", "Number", last), *filters), LIGHT_PAGE, _LIGHT)
            yield from page.tasks
            if not page.tasks:
                return
            last = page.tasks[-1].id

    def count_tasks(self, project: int, filters: Sequence[Filter] = ()) -> int:
        return self._tasks(project, _query(*filters), 1, _LIGHT).total

    def annotated_tasks(self, project: int, ids: Sequence[int]) -> list[Task]:
        """Return at most FULL_PAGE tasks with their annotations. Deleted tasks are left out."""
        query = {"selectedItems": {"all": False, "included": list(ids)}}
        return self._tasks(project, query, FULL_PAGE, _FULL).tasks

    def change_data(self, task: int, data: Mapping[str, Any]) -> None:
        self._do("PATCH", f"/api/tasks/{task}/", {"data": data})

    def delete_task(self, task: int) -> None:
        self._delete(f"/api/tasks/{task}/")

    def webhooks(self, project: int) -> list[RegisteredWebhook]:
        return self._get("/api/webhooks/", list[RegisteredWebhook], project=project)

    def register_webhook(self, project: int, url: str, headers: Mapping[str, str], known: int | None = None) -> None:
        """Register a webhook that notifies an address of a project's changes. `known`: a webhook to change instead."""
        webhook = {
            "url": url,
            "headers": headers,
            "is_active": True,
            "send_payload": True,
            "send_for_all_actions": False,
            "actions": ACTIONS,
        }
        if known is None:
            self._do("POST", "/api/webhooks/", webhook | {"project": project})
        else:
            self._do("PATCH", f"/api/webhooks/{known}/", webhook)

    def storages(self, project: int) -> list[ConnectedStorage]:
        return self._get("/api/storages/s3", list[ConnectedStorage], project=project)

    def connect_storage(self, project: int, bucket: str) -> None:
        """Let a project resolve S3 URIs of a bucket. Raises VerificationRefused if the bucket cannot be reached."""
        settings = msgspec.to_builtins(self.connection.storage)
        # `to_builtins` leaves out fields with the struct's defaults, and these two defaults are not Label Studio's.
        settings |= {"presign": self.connection.storage.presign, "presign_ttl": self.connection.storage.presign_ttl}
        storage = {"project": project, "title": "autolabel", "bucket": bucket, "use_blob_urls": True, **settings}
        path = "/api/storages/s3"
        status, answer = self._request("POST", path, storage)
        # Label Studio answers 500 for this if the S3 is not AWS's.
        if status in (400, 500):
            raise VerificationRefused(
                "storage",
                f"Label Studio at {self._url} cannot reach the bucket {bucket}{self._detail(answer)}: do storage in the"
                f" secret {self._secret}, or its own credentials, let it list the bucket and read frames?",
            )
        self._check("POST", path, status, answer)

    def _tasks(self, project: int, query: Mapping[str, Any], size: int, include: str) -> _Tasks:
        return self._get(
            "/api/tasks",
            _Tasks,
            project=project,
            page_size=size,
            include=include,
            # Keeps S3 URIs as they are; otherwise Label Studio replaces them by addresses of its own.
            resolve_uri="false",
            query=msgspec.json.encode(query).decode(),
            fields="all" if include == _FULL else "task_only",
        )

    def _delete(self, path: str) -> None:
        status, answer = self._request("DELETE", path)
        # 404: another call, or a person, has deleted it already.
        if status != 404:
            self._check("DELETE", path, status, answer)

    def _get(self, path: str, kind: type[Answer], **parameters: Any) -> Answer:
        return self._call("GET", f"{path}?{urlencode(parameters)}" if parameters else path, kind)

    def _call(self, method: str, path: str, kind: type[Answer], body: Any = None) -> Answer:
        """Call the API, and decode its answer."""
        answer = self._do(method, path, body)
        try:
            return msgspec.json.decode(answer, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            raise VerificationRefused(
                "answer", f"the server at {self._url}{_shown(path)} does not speak Label Studio's API: {e}"
            ) from None

    def _do(self, method: str, path: str, body: Any = None) -> bytes:
        """Call the API, and return the body of its answer."""
        status, answer = self._request(method, path, body)
        self._check(method, path, status, answer)
        return answer

    def _request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Call the API with our account, and return the status and the body of the answer."""
        status, answer = self._send(method, path, body, self._authorization())
        if status == 401 and self._personal and self._access:
            # The access token has expired. Label Studio did not carry out the call, so it is safe to repeat it.
            self._access = ""
            status, answer = self._send(method, path, body, self._authorization())
        return status, answer

    def _check(self, method: str, path: str, status: int, answer: bytes) -> None:
        if not 200 <= status < 300:
            raise self._problem(method, path, status, answer)

    def _authorization(self) -> str:
        if not self._personal:
            return f"Token {self.connection.token}"
        if not self._access:
            path = "/api/token/refresh"
            status, answer = self._send("POST", path, {"refresh": self.connection.token}, None)
            if status != 200:
                raise self._problem("POST", path, status, answer)
            try:
                self._access = msgspec.json.decode(answer, type=_Access).access
            except msgspec.DecodeError:
                raise VerificationRefused("answer", f"{self._url}{path} gives no access token") from None
        return f"Bearer {self._access}"

    def _send(self, method: str, path: str, body: Any, authorization: str | None) -> tuple[int, bytes]:
        headers = {"Accept": "application/json"}
        if authorization:
            headers["Authorization"] = authorization
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            response = self._http.request(
                method,
                self._url + path,
                headers=headers,
                body=None if body is None else msgspec.json.encode(body),
                # A redirect would send the token to another address.
                redirect=False,
                preload_content=False,
            )
            try:
                answer = response.read(MAX_ANSWER + 1)
            finally:
                response.release_conn()
        except urllib3.exceptions.HTTPError as e:
            # The text of the exception may contain the whole address with its query, and does not help.
            cause = e.reason if isinstance(e, urllib3.exceptions.MaxRetryError) and e.reason else e
            raise VerificationUnavailable(
                f"Label Studio at {self._url} does not answer ({type(cause).__name__}): is it up, and can it be reached"
                f" from here? Its address is url in the secret {self._secret}"
            ) from None
        if len(answer) > MAX_ANSWER:
            raise VerificationRefused(
                "answer", f"{self._url}{_shown(path)} answers with more than {MAX_ANSWER:,} bytes"
            )
        return response.status, answer

    def _problem(self, method: str, path: str, status: int, answer: bytes) -> Exception:
        place = f"{self._url}{_shown(path)}"
        if status in (408, 425, *_BUSY) or status > 500:
            return VerificationUnavailable(
                f"{place} answers {status}{self._detail(answer)}: is it overloaded or failing?"
            )
        if status == 401:
            return VerificationRefused(
                "token", f"{place} answers 401: token in the secret {self._secret} is not, or no longer, accepted"
            )
        if status == 403:
            return VerificationRefused(
                "permission",
                f"{place} answers 403 to {method}{self._detail(answer)}: the account of the token in"
                f" the secret {self._secret} may not do this",
            )
        if status == 404:
            return VerificationRefused(
                "gone",
                f"{place} answers 404{self._detail(answer)}: was the project deleted, or is url in the secret"
                f" {self._secret} another Label Studio?",
            )
        if 300 <= status < 400:
            return VerificationRefused("url", f"{place} leads elsewhere: is url in the secret {self._secret} right?")
        return VerificationRefused("request", f"{place} answers {status} to {method}{self._detail(answer)}")

    def _detail(self, answer: bytes) -> str:
        """Return the answer's description of the problem, without the secrets that it may quote."""
        try:
            problem = msgspec.json.decode(answer, type=_Problem)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""
        said = msgspec.json.encode(problem.validation_errors or problem.detail).decode()
        connection, storage = self.connection, self.connection.storage
        for secret in (
            connection.token,
            self._access,
            connection.webhook_secret,
            storage.aws_access_key_id,
            storage.aws_secret_access_key,
            storage.aws_session_token,
        ):
            said = said.replace(secret, "…") if secret else said
        return f" ({printable(said[:500])})"


def _query(*filters: Filter) -> dict[str, Any]:
    items = [
        {"filter": f"filter:tasks:{field}", "operator": operator, "type": kind, "value": value}
        for field, operator, kind, value in filters
    ]
    return {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}


def _shown(path: str) -> str:
    return path.partition("?")[0]
