from collections.abc import AsyncIterator

import pytest

from perfagent.clock import VirtualClock
from perfagent.domain.errors import Unreachable
from perfagent.domain.knob import EffectiveConfig, LaunchConfig
from perfagent.domain.snapshot import Snapshot, Target
from perfagent.engines import effective
from support.api import Site, problem, site
from support.rollouts import BEFORE, FEWER_BITS, FleetDouble, max_num_seqs

REPLICAS = 4
CHANGE = {"service": "chat", "config_changes": {"max_num_seqs": 64}, "monitoring_duration_seconds": 300}
ANN = {"who": "ann", "why": "looked at it"}


class FleetScraper:
    """Reads the pages of a fleet in memory."""

    def __init__(self, fleet: FleetDouble) -> None:
        self._fleet = fleet

    async def scrape(self, target: Target, engine: str | None) -> Snapshot:
        assert engine == "vllm"
        pages = {page.target: page for page in self._fleet.scrape()}
        if target.id not in pages:
            raise Unreachable(f"{target.url} is starting")
        return pages[target.id]

    async def read_config(
        self, _target: Target, snapshot: Snapshot, launch: LaunchConfig, release: str | None = None
    ) -> EffectiveConfig:
        return effective(snapshot.engine, launch, snapshot.info, {}, release)


@pytest.fixture
def fleet() -> FleetDouble:
    targets = tuple(Target(f"chat/r{k}:80", f"http://r{k}:80") for k in range(REPLICAS))
    return FleetDouble(VirtualClock(), targets, start_delay_s=20.0)


@pytest.fixture
async def at(fleet: FleetDouble) -> AsyncIterator[Site]:
    """A service of four replicas whose flags the agent can change."""
    clock = VirtualClock()
    fleet._clock = clock
    async with site(clock=clock, scraper=FleetScraper(fleet), prober=fleet, actuators={"fleet": fleet}) as built:
        put = await built.put(
            "/services/chat",
            {
                "engine": "vllm",
                "targets": [f"http://r{k}" for k in range(REPLICAS)],
                "actuator": "fleet",
                "version": "0.26.0",
                "flags": list(BEFORE.flags),
            },
        )
        assert put.status_code == 201, put.text
        await built.turn(30)
        yield built


@pytest.fixture
async def watched(at: Site) -> Site:
    """The same, seen for as long as a rollout wants to know what is usual."""
    await at.turn(570)
    return at


async def test_a_workflow_answers_at_once_and_the_loop_brings_it_to_its_end(watched: Site, fleet: FleetDouble) -> None:
    answer = await watched.post("/workflows", CHANGE)
    assert answer.status_code == 201
    told = answer.json()
    assert told["status"] == "pending"
    assert answer.headers["location"] == f"/api/v1/workflows/{told['workflow_id']}"
    await watched.turn(1500)
    ended = (await watched.get(f"/workflows/{told['workflow_id']}")).json()
    assert ended["status"] == "completed"
    assert [stage["stage"] for stage in ended["rollout_history"]] == [10, 50, 100]
    assert [stage["actual_percent"] for stage in ended["rollout_history"]] == [25, 50, 100]
    assert [stage["verdict"] for stage in ended["rollout_history"]] == ["promote"] * 3
    assert [(each["stage"], each["rule"], each["look"]) for each in ended["verdicts"]] == [
        (10, "no_harm", 1),
        (50, "not_inferior", 1),
        (100, "watch", 1),
    ]
    assert all(0 < each["chance_spent"] < 0.01 and each["looks_planned"] == 3 for each in ended["verdicts"])
    assert [(each["stage"], each["assumed"]) for each in ended["plan"]["outlook"]] == [
        (10, False),
        (50, False),
        (100, False),
    ]
    assert all(0 <= each["hold_chance"] <= 1 for each in ended["plan"]["outlook"])
    assert [verdict["stage"] for verdict in ended["verdicts"]] == [10, 50, 100]
    judgements = [judgement for verdict in ended["verdicts"] for judgement in verdict["judgements"]]
    assert all(judgement["reason"] and judgement["likely"] for judgement in judgements)
    assert ended["plan"]["flags"] == ["--max-num-seqs=64"]
    assert [event["kind"] for event in ended["events"]][:2] == ["requested", "planned"]
    assert ended["events_total"] == len(ended["events"])
    assert ended["fleet_percent"] == 100
    assert ended["final_health_score"] == 100
    assert [max_num_seqs(config) for config in fleet.configs.values()] == [64] * REPLICAS


async def test_a_harmful_workflow_is_rolled_back_and_says_why(watched: Site, fleet: FleetDouble) -> None:
    fleet.slowness = lambda config: 3.0 if max_num_seqs(config) == 64 else 1.0
    workflow = (await watched.post("/workflows", CHANGE)).json()["workflow_id"]
    await watched.turn(700)
    ended = (await watched.get(f"/workflows/{workflow}")).json()
    assert ended["status"] == "rolled_back"
    assert [stage["verdict"] for stage in ended["rollout_history"]] == ["roll_back"]
    assert ended["reason"]
    assert set(fleet.configs.values()) == {BEFORE}


async def test_a_plan_tells_what_is_asked_and_each_stage_what_was_said_of_the_answers(
    watched: Site, fleet: FleetDouble
) -> None:
    fewer_bits = {**CHANGE, "config_changes": FEWER_BITS}
    workflow = (await watched.post("/workflows", fewer_bits)).json()["workflow_id"]
    await watched.turn(10)
    plan = (await watched.get(f"/workflows/{workflow}")).json()["plan"]
    assert (len(plan["quality"]["prompts"]), plan["quality"]["tokens_differ"]) == (24, 0.05)
    await watched.post(f"/workflows/{workflow}/approve", ANN)
    await watched.turn(200)
    fleet.answers = lambda config, prompt: prompt if config == BEFORE else prompt.upper()
    await watched.turn(400)
    held = (await watched.get(f"/workflows/{workflow}")).json()
    assert (held["status"], held["waiting_for"]) == ("held", "decision")
    assert held["reason"].startswith("answers are not as before: ")
    first, second = held["rollout_history"]
    (said,) = first["quality"]
    assert (said["verdict"], said["asked"], said["tokens_differ"], said["tokens_differ_by_chance"]) == (
        "promote",
        True,
        0.0,
        0.0,
    )
    assert first["reasons"][-1] == said["reason"]
    assert said["tokens_compared"] > 500
    assert second["quality"][0]["verdict"] == "hold"
    assert [event["kind"] for event in held["events"]].count("probed") == 2


async def test_a_plan_waits_for_the_approval_of_exactly_this_plan(at: Site) -> None:
    workflow = (await at.post("/workflows", {**CHANGE, "requires_approval": True})).json()["workflow_id"]
    await at.turn(10)
    waiting = (await at.get(f"/workflows/{workflow}")).json()
    assert (waiting["status"], waiting["waiting_for"]) == ("awaiting_approval", "approval")
    other = await at.post(f"/workflows/{workflow}/approve", {**ANN, "plan_hash": "0" * 64})
    assert problem(other) == (409, "illegal-transition")
    seen = {**ANN, "plan_hash": waiting["plan"]["hash"]}
    for _ in range(2):
        approved = await at.post(f"/workflows/{workflow}/approve", seen)
        assert approved.status_code == 200
        assert approved.json()["status"] == "rolling_out"
    assert approved.json()["approval"]["who"] == "ann"


async def test_a_rejected_plan_touches_nothing(at: Site, fleet: FleetDouble) -> None:
    workflow = (await at.post("/workflows", {**CHANGE, "requires_approval": True})).json()["workflow_id"]
    await at.turn(10)
    for _ in range(2):
        assert (await at.post(f"/workflows/{workflow}/reject", ANN)).json()["status"] == "rejected"
    await at.turn(60)
    assert fleet.applied == []


async def test_verbs_may_be_repeated_and_are_refused_where_they_do_not_apply(watched: Site, fleet: FleetDouble) -> None:
    workflow = (await watched.post("/workflows", CHANGE)).json()["workflow_id"]
    verb = f"/workflows/{workflow}"
    assert problem(await watched.post(f"{verb}/resume", ANN)) == (409, "illegal-transition")
    await watched.turn(100)
    for _ in range(2):
        assert (await watched.post(f"{verb}/pause", ANN)).json()["status"] == "held"
    assert (await watched.get(verb)).json()["waiting_for"] == "decision"
    for _ in range(2):
        assert (await watched.post(f"{verb}/resume", ANN)).json()["status"] == "monitoring"
    for _ in range(2):
        promoted = (await watched.post(f"{verb}/promote", {**ANN, "stage": 10})).json()
        assert (promoted["status"], promoted["current_stage"]) == ("rolling_out", 50)
    for _ in range(2):
        assert (await watched.post(f"{verb}/abort", ANN)).json()["status"] == "rolling_back"
    await watched.turn(120)
    assert (await watched.get(verb)).json()["status"] == "rolled_back"
    assert set(fleet.configs.values()) == {BEFORE}
    assert problem(await watched.post(f"{verb}/promote", {**ANN, "stage": 100})) == (409, "illegal-transition")


async def test_without_auto_rollout_a_person_promotes_each_stage(watched: Site) -> None:
    workflow = (await watched.post("/workflows", {**CHANGE, "auto_rollout": False})).json()["workflow_id"]
    await watched.turn(600)
    held = (await watched.get(f"/workflows/{workflow}")).json()
    assert (held["status"], held["waiting_for"], held["current_stage"]) == ("held", "decision", 10)


async def test_a_service_without_an_actuator_is_told_the_flags_to_change(at: Site) -> None:
    assert (await at.put("/services/chat", {"engine": "vllm", "targets": ["http://r0"]})).status_code == 200
    await at.turn(20)
    workflow = (await at.post("/workflows", {**CHANGE, "instance_type": "vllm"})).json()["workflow_id"]
    await at.turn(10)
    told = (await at.get(f"/workflows/{workflow}")).json()
    assert told["status"] == "held"
    assert "--max-num-seqs=64" in told["reason"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (422, "invalid-fields")),
        ({"service": "chat", "instance_id": "other"}, (422, "invalid-fields")),
        ({"service": "nobody"}, (404, "not-found")),
        ({"service": "chat", "instance_type": "tgi"}, (409, "conflict")),
        ({"service": "chat", "config_changes": {"warp_factor": 9}}, (422, "invalid-fields")),
        ({"service": "chat", "config_changes": {"max_num_seqs": -1}}, (422, "invalid-input")),
        ({"service": "chat", "config_changes": {"max_num_seqs": "many; rm -rf"}}, (422, "invalid-input")),
        ({"service": "chat", "config_changes": {"schedule_conservativeness": 1.0}}, (422, "invalid-input")),
        ({"service": "chat", "monitoring_duration_seconds": 0}, (422, "invalid-fields")),
        ({"service": "chat", "monitoring_duration_seconds": 3601}, (422, "invalid-fields")),
        ({"service": "chat", "health_threshold": 101}, (422, "invalid-fields")),
    ],
)
async def test_what_cannot_be_rolled_out_is_refused_at_once(at: Site, body: object, expected: object) -> None:
    assert problem(await at.post("/workflows", body)) == expected
    assert (await at.get("/workflows")).json()["workflows"] == []


async def test_one_workflow_at_a_time(at: Site) -> None:
    assert (await at.post("/workflows", {**CHANGE, "service": None, "instance_id": "chat"})).status_code == 201
    assert problem(await at.post("/workflows", CHANGE)) == (409, "conflict")


async def test_a_service_that_has_to_rest_is_changed_only_with_an_override(watched: Site) -> None:
    chat = (await watched.get("/services/chat")).json()
    told = {name: chat[name] for name in ("engine", "actuator", "version", "flags")}
    targets = [target["url"] for target in chat["targets"]]
    await watched.put("/services/chat", {**told, "targets": targets, "policy": {"cooldown": "1h"}})
    workflow = (await watched.post("/workflows", CHANGE)).json()["workflow_id"]
    await watched.turn(60)
    await watched.post(f"/workflows/{workflow}/abort", ANN)
    await watched.turn(60)
    refused = await watched.post("/workflows", CHANGE)
    assert problem(refused) == (409, "conflict")
    assert "1h of rest" in refused.json()["detail"]
    assert problem(await watched.post("/workflows", {**CHANGE, "override": " "})) == (422, "invalid-fields")
    begun = await watched.post("/workflows", {**CHANGE, "override": "the queue grows"})
    assert (begun.status_code, begun.json()["override"]) == (201, "the queue grows")


async def test_a_workflow_that_waits_for_the_end_of_a_freeze_says_so(watched: Site) -> None:
    chat = (await watched.get("/services/chat")).json()
    told = {name: chat[name] for name in ("engine", "actuator", "version", "flags")}
    targets = [target["url"] for target in chat["targets"]]
    always = {"freeze": [{"why": "moving house"}]}
    await watched.put("/services/chat", {**told, "targets": targets, "policy": always})
    workflow = (await watched.post("/workflows", CHANGE)).json()["workflow_id"]
    await watched.turn(60)
    frozen = (await watched.get(f"/workflows/{workflow}")).json()
    assert (frozen["status"], frozen["waiting_for"], frozen["deadline"]) == ("held", "freeze", None)
    assert frozen["reason"].endswith("UTC (moving house)")


async def test_a_workflow_tells_what_somebody_else_has_changed_and_what_is_not_restored(
    watched: Site, fleet: FleetDouble
) -> None:
    workflow = (await watched.post("/workflows", CHANGE)).json()["workflow_id"]
    verb = f"/workflows/{workflow}"
    await watched.turn(100)
    fleet.restart("chat/r3:80", LaunchConfig(("--max-num-seqs", "32", *BEFORE.flags[2:]), BEFORE.env))
    await watched.turn(20)
    held = (await watched.get(verb)).json()
    differs = "max_num_seqs is 32, not 8; differing: --max-num-seqs"
    assert (held["status"], held["drift"]) == ("held", [{"target": "chat/r3:80", "differs": differs}])
    assert problem(await watched.post(f"{verb}/take-over", ANN)) == (409, "illegal-transition")
    fleet.unreachable = {"chat/r0:80"}
    await watched.post(f"{verb}/abort", ANN)
    await watched.turn(20)
    assert (await watched.get(verb)).json()["unrestored"] == ["chat/r0:80"]
    for _ in range(2):
        over = (await watched.post(f"{verb}/take-over", ANN)).json()
        assert (over["status"], over["unrestored"]) == ("failed", ["chat/r0:80"])


async def test_a_plan_says_why_a_person_is_asked(at: Site) -> None:
    asked = {**CHANGE, "config_changes": {"kv_cache_dtype": "fp8"}}
    workflow = (await at.post("/workflows", asked)).json()["workflow_id"]
    await at.turn(10)
    waiting = (await at.get(f"/workflows/{workflow}")).json()
    assert waiting["plan"]["asked_for"] == ["kv_cache_dtype may alter answers"]
    assert waiting["reason"] == "waiting for a person to approve the plan: kv_cache_dtype may alter answers"


async def test_a_word_needs_who_and_why(at: Site) -> None:
    workflow = (await at.post("/workflows", CHANGE)).json()["workflow_id"]
    for body in ({}, {"who": "ann"}, {"who": " ", "why": "x"}, {"who": "ann", "why": " "}, {**ANN, "plan": 1}):
        assert problem(await at.post(f"/workflows/{workflow}/abort", body)) == (422, "invalid-fields")
    assert problem(await at.post("/workflows/nothing/abort", ANN)) == (404, "not-found")


async def test_workflows_come_in_pages_newest_first(at: Site) -> None:
    begun = []
    for _ in range(3):
        begun.append((await at.post("/workflows", CHANGE)).json()["workflow_id"])
        await at.post(f"/workflows/{begun[-1]}/abort", ANN)
    first = (await at.get("/workflows", limit=2)).json()
    assert [each["workflow_id"] for each in first["workflows"]] == begun[:0:-1]
    second = (await at.get("/workflows", limit=2, before=first["next"])).json()
    assert [each["workflow_id"] for each in second["workflows"]] == begun[:1]
    assert second["next"] is None
    assert (await at.get("/workflows", status="completed")).json()["workflows"] == []
    assert len((await at.get("/workflows", service="chat", status="rolled_back")).json()["workflows"]) == 3
    assert problem(await at.get("/workflows", before="nothing")) == (404, "not-found")


async def test_a_number_beyond_every_bound_is_refused(at: Site) -> None:
    started = await at.post("/workflows", {**CHANGE, "config_changes": {"max_num_seqs": 10**400}})
    assert problem(started) == (422, "invalid-input")
