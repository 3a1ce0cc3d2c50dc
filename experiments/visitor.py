"""A visitor of the page without a browser: what Gradio's front end does, over HTTP alone."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import httpx

API = "/gradio_api"
BUSY = 503


class BusyError(Exception):
    """The server asks the visitor to come back: too many are waiting."""


class FailedError(Exception):
    """An event ended with an error."""


@dataclass
class Visitor:
    """One open page.

    Attributes:
        client: with the address of the app.
        config: of the page, once it is open.
        values: of every component, by id.
        choices: of the components that have got some, by id.
        waited_behind: for each queued event, how many were before it when it joined.
    """

    client: httpx.AsyncClient
    config: dict[str, Any] = field(default_factory=dict)
    values: dict[int, Any] = field(default_factory=dict)
    choices: dict[int, list[Any]] = field(default_factory=dict)
    waited_behind: list[int] = field(default_factory=list)
    session: str = field(default_factory=lambda: secrets.token_hex(8))
    _pending: dict[str, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    _early: dict[str, dict[str, Any]] = field(default_factory=dict)
    _stream: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Load the page, and all that follows from it."""
        (await self.client.get("/")).raise_for_status()
        self.config = (await self.client.get("/config")).raise_for_status().json()
        self.values = {c["id"]: c["props"].get("value") for c in self.config["components"]}
        roots = {i for d in self.config["dependencies"] for i, on in d["targets"] if on == "load"}
        for root in roots:
            await self.fire(root, "load")

    def component(self, elem_id: str) -> int:
        """The id of the component with an ``elem_id``, or of the tab of a label."""
        for component in self.config["components"]:
            props = component["props"]
            if elem_id in (props.get("elem_id"), props.get("id")):
                return int(component["id"])
        raise KeyError(elem_id)

    async def upload(self, elem_id: str, name: str, content: bytes) -> None:
        """Choose a file in an image component, and all that follows."""
        answer = await self.client.post(f"{API}/upload", files={"files": (name, content)})
        (path,) = answer.raise_for_status().json()
        file = {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
        await self.choose(elem_id, file, "change")

    async def choose(self, elem_id: str, value: Any, event: str) -> None:
        """Set a component, and all that follows."""
        component = self.component(elem_id)
        self.values[component] = value
        await self.fire(component, event)

    async def fire(self, component: int, event: str) -> None:
        """Run what listens to an event, and what listens to its results.

        Raises:
            BusyError: too many are waiting.
            FailedError: an event ended with an error.
        """
        listening = [
            d
            for d in self.config["dependencies"]
            if d["backend_fn"] and [component, event] in d["targets"]
        ]
        await asyncio.gather(*(self._run(dependency) for dependency in listening))

    async def _run(self, dependency: dict[str, Any]) -> None:
        body = {
            "data": [self.values[i] for i in dependency["inputs"]],
            "fn_index": dependency["id"],
            "session_hash": self.session,
            "trigger_id": dependency["targets"][0][0],
            "event_data": None,
        }
        output = await (self._queued(body) if dependency["queue"] else self._direct(body))
        for i, value in zip(dependency["outputs"], output["data"], strict=True):
            updated = value
            if isinstance(value, dict) and value.get("__type__") == "update":
                if "choices" in value:
                    self.choices[i] = [choice for _, choice in value["choices"]]
                if "value" not in value:
                    continue
                updated = value["value"]
            self.values[i] = updated
        followers = [
            d
            for d in self.config["dependencies"]
            if d["trigger_after"] == dependency["id"]
            and d["backend_fn"]
            and not d["trigger_only_on_failure"]
        ]
        await asyncio.gather(
            *(self.fire(i, "change") for i in output.get("changed_state_ids") or ()),
            *(self._run(follower) for follower in followers),
        )

    async def _direct(self, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.client.post(f"{API}/run/predict", json=body)
        if answer.status_code != httpx.codes.OK:
            raise FailedError(f"{answer.status_code} {answer.text[:300]}")
        output: dict[str, Any] = answer.json()
        return output

    async def _queued(self, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.client.post(f"{API}/queue/join", json=body)
        if answer.status_code == BUSY:
            raise BusyError(answer.text)
        event = answer.raise_for_status().json()["event_id"]
        done = self._pending[event] = asyncio.get_running_loop().create_future()
        if event in self._early:
            self._take(self._early.pop(event))
        if self._stream is None or self._stream.done():
            self._stream = asyncio.create_task(self._listen())
        output: dict[str, Any] = await done
        return output

    async def _listen(self) -> None:
        """Take messages until nothing is pending."""
        address, query = f"{API}/queue/data", {"session_hash": self.session}
        while self._pending:
            try:
                async with self.client.stream("GET", address, params=query) as stream:
                    async for line in stream.aiter_lines():
                        if line.startswith("data:"):
                            self._take(json.loads(line[5:]))
            except httpx.HTTPError as error:
                self._give_up(repr(error))

    def _give_up(self, why: str) -> None:
        for done in self._pending.values():
            done.set_exception(FailedError(why))
        self._pending.clear()

    def _take(self, message: dict[str, Any]) -> None:
        event = str(message.get("event_id"))
        if message["msg"] == "estimation" and message["rank"] is not None:
            self.waited_behind.append(message["rank"])
        elif message["msg"] == "process_completed" and event not in self._pending:
            self._early[event] = message  # done before the answer to its joining came
        elif message["msg"] == "process_completed":
            done = self._pending.pop(event)
            if message["success"]:
                done.set_result(message["output"])
            else:
                done.set_exception(FailedError(str(message["output"].get("error"))))
        elif message["msg"] == "unexpected_error":
            self._give_up(message["message"])
