"""Changes emulated replicas over their `/emulator` endpoints; works across processes."""

from collections.abc import Mapping

import httpx

from perfagent.domain.errors import ActuatorFailed, BadAnswer, InvalidInput, TimedOut, Unreachable
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.snapshot import Target
from perfagent.emulator.engine import State
from perfagent.emulator.messages import as_launch, launch_of

TIMEOUT_S = 10.0


class EmulatedActuator:
    """The `Actuator` for emulated replicas."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def read(self, target: Target) -> LaunchConfig:
        """How the replica is launched. Raises `Unreachable`, `TimedOut` or `BadAnswer`."""
        try:
            return launch_of(await self._ask("GET", target, "/emulator/launch"))
        except InvalidInput as error:
            raise BadAnswer(f"{target.url} told no launch configuration: {error}") from error

    async def apply(self, target: Target, config: LaunchConfig) -> None:
        """Restart the replica with this configuration unless it has it already. Raises `ActuatorFailed`."""
        try:
            await self._ask("PUT", target, "/emulator/launch", as_launch(config))
        except (Unreachable, TimedOut, BadAnswer) as error:
            raise ActuatorFailed(f"{target.id} could not be changed: {error}") from error

    async def ready(self, target: Target) -> bool:
        """Whether it serves with the configuration last applied. Raises `ActuatorFailed` when it failed to start."""
        status = await self._ask("GET", target, "/emulator/status")
        state = status.get("state")
        if state == State.FAILED:
            raise ActuatorFailed(f"{target.id} does not start: {status.get('trouble')}")
        return state == State.SERVING

    async def _ask(
        self, method: str, target: Target, path: str, body: Mapping[str, object] | None = None
    ) -> Mapping[str, object]:
        try:
            answer = await self._client.request(method, target.url + path, json=body, timeout=TIMEOUT_S)
        except httpx.TimeoutException as error:
            raise TimedOut(f"{target.url}{path} did not answer within {TIMEOUT_S:.0f} s") from error
        except httpx.HTTPError as error:
            raise Unreachable(f"{target.url}{path}: {error or type(error).__name__}") from error
        try:
            told = answer.json()
        except ValueError as error:
            raise BadAnswer(f"{target.url}{path} answered no JSON (HTTP {answer.status_code})") from error
        if answer.is_error or not isinstance(told, Mapping):
            raise BadAnswer(f"{target.url}{path} answered HTTP {answer.status_code}: {str(told)[:200]}")
        return told
