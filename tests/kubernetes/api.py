"""A client of an API server as plain as curl: what it sees does not depend on the client that is being tested."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
UNTIL_SECONDS = 15.0


class ApiError(AssertionError):
    """The answer was not a good one."""

    def __init__(self, answer: Answer, asked: str) -> None:
        super().__init__(f"{asked}: {answer.status}: {answer.text[:2000]}")
        self.answer = answer


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Api:
    """Requests to one server as one user, each on a connection of its own."""

    def __init__(self, server: str, token: str | None, context: ssl.SSLContext) -> None:
        self.server = server
        self.token = token
        self._context = context
        self._resources: dict[str, dict[str, Any]] = {}

    def request(self, method: str, path: str, body: Any = None, content: str = "application/json", seconds: float = 30) -> Answer:
        """Any answer, good or bad. Raises OSError or HTTPException when there is none."""
        place = urlsplit(self.server)
        connection = http.client.HTTPSConnection(place.hostname or "", place.port, timeout=seconds, context=self._context)
        headers = {"Accept": "application/json", "Content-Type": content}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read().decode(), {name.lower(): value for name, value in answer.getheaders()})
        finally:
            connection.close()

    def good(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Any:
        answer = self.request(method, path, body, content)
        if answer.status >= 300:
            raise ApiError(answer, f"{method} {path}")
        return answer.json if answer.headers.get("content-type", "").startswith("application/json") else answer.text

    def get(self, path: str) -> Any:
        return self.good("GET", path)

    def items(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(path)["items"]
        return found

    def apply(self, manifest: dict[str, Any], manager: str = "test", *, force: bool = False) -> Any:
        """Server-side apply."""
        path = f"{self.path(manifest)}?fieldManager={quote(manager)}&force={str(force).lower()}"
        return self.good("PATCH", path, manifest, APPLY)

    def merge(self, path: str, change: dict[str, Any]) -> Any:
        return self.good("PATCH", path, change, MERGE)

    def delete(self, path: str, **options: Any) -> Any:
        return self.good("DELETE", path, options or None)

    def exists(self, path: str) -> bool:
        answer = self.request("GET", path)
        if answer.status not in (200, 404):
            raise ApiError(answer, f"GET {path}")
        return answer.status == 200

    def path(self, manifest: dict[str, Any]) -> str:
        """The address of an object, from what the server says about its kind."""
        version, kind = manifest["apiVersion"], manifest["kind"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if kind not in self._resources.get(version, {}):
            found = self.get(root)["resources"]
            self._resources[version] = {each["kind"]: each for each in found if "/" not in each["name"]}
        resource = self._resources[version][kind]
        space = f"/namespaces/{manifest['metadata'].get('namespace', 'default')}" if resource["namespaced"] else ""
        return f"{root}{space}/{resource['name']}/{manifest['metadata']['name']}"

    def until(self, path: str, holds: Callable[[Any], object], seconds: float = UNTIL_SECONDS) -> Any:
        """What is at the path, as soon as it is as wanted. A path that is not there yet is waited for."""
        deadline = time.monotonic() + seconds
        while True:
            answer = self.request("GET", path)
            if answer.status == 200 and holds(answer.json):
                return answer.json
            if time.monotonic() > deadline:
                raise AssertionError(f"{path} did not become as wanted within {seconds} s: {answer.status}: {answer.text[:3000]}")
            time.sleep(0.03)

    def until_gone(self, path: str, seconds: float = UNTIL_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while self.exists(path):
            if time.monotonic() > deadline:
                raise AssertionError(f"{path} is still there after {seconds} s: {self.get(path)}")
            time.sleep(0.03)

    def requests_served(self) -> int:
        """How many requests the server has answered since it started, from its own metrics; watches count when they end."""
        text = self.request("GET", "/metrics").text
        return sum(int(float(value)) for value in re.findall(r"^apiserver_request_total\{.*\} (\S+)$", text, re.MULTILINE))
