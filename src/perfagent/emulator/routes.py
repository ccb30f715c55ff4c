"""What one emulated replica answers over HTTP."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from perfagent.domain.errors import InvalidInput
from perfagent.emulator.answers import Word, words
from perfagent.emulator.engine import EmulatedEngine
from perfagent.emulator.fleet import Ticket
from perfagent.emulator.messages import (
    Completion,
    as_completion,
    as_generated,
    as_launch,
    completion_of,
    generate_of,
    launch_of,
)
from perfagent.emulator.pace import Pace
from perfagent.emulator.process import Refusal
from perfagent.engines.completions import Completions

EMULATED = {"x-emulated-by": "perfagent"}
LATELY_S = 60.0
MAX_BODY_BYTES = 4 * 2**20


def routes(pace: Pace, replica: int) -> list[Route]:
    """The routes of one replica."""
    answers = _Answers(pace, replica)
    return [
        Route("/emulator/launch", answers.launch, methods=["GET"]),
        Route("/emulator/launch", answers.relaunch, methods=["PUT"]),
        Route("/emulator/status", answers.status, methods=["GET"]),
        Route("/metrics", answers.metrics, methods=["GET"]),
        Route("/health", answers.health, methods=["GET"]),
        Route("/v1/completions", answers.completions, methods=["POST"]),
        *([Route("/generate", answers.generate, methods=["POST"])] if answers.own_api else []),
        Route("/{path:path}", answers.configuration, methods=["GET"]),
    ]


class _Answers:
    def __init__(self, pace: Pace, replica: int) -> None:
        self._pace = pace
        self._fleet = pace.fleet
        self._replica = replica

    async def launch(self, _: Request) -> Response:
        """How the replica is launched."""
        return JSONResponse(as_launch(self._now().launch), headers=EMULATED)

    async def relaunch(self, request: Request) -> Response:
        """Launch it like this from now on."""
        try:
            wanted = launch_of(await _json(request))
        except InvalidInput as error:
            return _refused(Refusal(400, str(error)))
        self._now()
        self._fleet.apply(self._replica, wanted)
        return JSONResponse(as_launch(wanted), status_code=202, headers=EMULATED)

    async def status(self, _: Request) -> Response:
        """Everything about the replica, and what its clients saw in the last minute."""
        engine, fleet = self._now(), self._fleet
        machine, process = engine.machine, engine.process
        lately = fleet.seen(fleet.now_s - LATELY_S, fleet.now_s, [self._replica])
        return JSONResponse(
            {
                "emulated": True,
                "name": engine.name,
                "state": engine.state,
                "trouble": engine.trouble,
                "restarts": engine.restarts,
                "engine": machine.engine,
                "release": machine.release,
                "model": machine.model.name,
                "gpu": machine.gpu.name,
                "launch": as_launch(engine.launch),
                "now_s": fleet.now_s,
                "running": None if process is None else process.running,
                "waiting": None if process is None else process.waiting,
                "kv_usage": None if process is None else process.kv_usage,
                "clients_last_minute": asdict(lately),
            },
            headers=EMULATED,
        )

    async def metrics(self, _: Request) -> Response:
        """The engine's page."""
        engine = self._now()
        if engine.process is not None and not engine.metrics_served:
            return PlainTextResponse("Not Found\n", status_code=404, headers=EMULATED)
        page = self._fleet.scrape(self._replica)
        if page is None:
            return _down()
        return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8", headers=EMULATED)

    async def health(self, _: Request) -> Response:
        """Up, or not yet."""
        return _down() if self._now().process is None else Response(headers=EMULATED)

    async def configuration(self, request: Request) -> Response:
        """What the engine tells of its settings."""
        process = self._now().process
        if process is None:
            return _down()
        answer = self._now().machine.habits.answers(process.facts()).get(request.url.path)
        if answer is None:
            return JSONResponse({"detail": "Not Found"}, status_code=404, headers=EMULATED)
        return JSONResponse(answer, headers=EMULATED)

    async def completions(self, request: Request) -> Response:
        """Emulated tokens, at the pace the twin says; a client that goes away cancels them."""
        try:
            wanted = completion_of(await _json(request))
        except InvalidInput as error:
            return _refused(Refusal(400, str(error)))
        begun = self._begun(wanted)
        if isinstance(begun, Refusal):
            return _refused(begun)
        ticket, spoken = begun
        if wanted.stream:
            stream = self._stream(ticket, wanted, spoken)
            return StreamingResponse(stream, media_type="text/event-stream", headers=EMULATED)
        body = self._completion(ticket, wanted, spoken, finished=True)
        return await self._whole(request, ticket, body)

    async def generate(self, request: Request) -> Response:
        """The same in TGI's own form."""
        try:
            wanted = generate_of(await _json(request))
        except InvalidInput as error:
            return _refused(Refusal(422, str(error)))
        begun = self._begun(wanted)
        if isinstance(begun, Refusal):
            return _refused(begun)
        ticket, spoken = begun
        return await self._whole(request, ticket, as_generated(wanted, spoken))

    @property
    def own_api(self) -> bool:
        """Whether the engine has an API of its own beside OpenAI's, which then tells no log-probabilities."""
        return self._fleet.machine.spec.completions is Completions.GENERATE

    def _begun(self, wanted: Completion) -> tuple[Ticket, Sequence[Word]] | Refusal:
        """The request under way, and what will have been answered when it is done."""
        astray = self._now().astray
        ticket = self._fleet.submit(self._replica, wanted.prompt_tokens, wanted.max_tokens)
        return ticket if isinstance(ticket, Refusal) else (ticket, words(wanted.prompt, wanted.max_tokens, astray))

    def _now(self) -> EmulatedEngine:
        self._pace.catch_up()
        return self._fleet.replicas[self._replica]

    async def _stream(self, ticket: Ticket, wanted: Completion, spoken: Sequence[Word]) -> AsyncIterator[str]:
        """One event per token; a stream that is cut off ends without `[DONE]`."""
        sent = 0
        try:
            while True:
                self._pace.catch_up()
                going_on, come = ticket.open and not self._pace.stopped, ticket.tokens
                for number in range(sent + 1, come + 1):
                    last = number == wanted.max_tokens
                    body = self._completion(ticket, wanted, spoken[number - 1 : number], finished=last)
                    yield f"data: {json.dumps(body)}\n\n"
                sent = come
                if not going_on:
                    break
                await self._pace.look_again()
            complete = ticket.complete
        finally:
            self._fleet.cancel(ticket)
        if complete:
            yield "data: [DONE]\n\n"

    async def _whole(self, request: Request, ticket: Ticket, body: Mapping[str, object]) -> Response:
        """The body, when the request is done."""
        try:
            while ticket.open and not self._pace.stopped and not await request.is_disconnected():
                await self._pace.look_again()
                self._pace.catch_up()
            complete = ticket.complete
        finally:
            self._fleet.cancel(ticket)
        if not complete:
            return _refused(Refusal(500, "the emulated server went down"))
        return JSONResponse(body, headers=EMULATED)

    def _completion(
        self, ticket: Ticket, wanted: Completion, spoken: Sequence[Word], *, finished: bool
    ) -> dict[str, object]:
        fleet = self._fleet
        told = wanted.logprobs and not self.own_api
        name, now_s = fleet.machine.model.name, fleet.now_s
        return as_completion(ticket.request.id, name, now_s, wanted, spoken, finished=finished, logprobs=told)


async def _json(request: Request) -> object:
    """The request's body; raises `InvalidInput` for one that is too large or no JSON."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise InvalidInput(f"the body has more than {MAX_BODY_BYTES} bytes")
        chunks.append(chunk)
    try:
        return json.loads(b"".join(chunks))
    except (ValueError, RecursionError) as error:
        raise InvalidInput("the body is no JSON") from error


def _refused(refusal: Refusal) -> Response:
    body = {"error": {"message": refusal.reason, "code": refusal.status}}
    return JSONResponse(body, status_code=refusal.status, headers=EMULATED)


def _down() -> Response:
    return PlainTextResponse("emulated: not up\n", status_code=503, headers=EMULATED)
