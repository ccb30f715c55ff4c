"""Emulated engines over HTTP, on top of the twin: for the demo, for `perfagent emulate` and for the tests.

Nothing here measures a real GPU; everything that a user could take for a real server says that it is emulated.
"""

from perfagent.emulator.actuator import EmulatedActuator
from perfagent.emulator.clients import Seen
from perfagent.emulator.engine import State, Timing
from perfagent.emulator.faults import BadAnswers, Crash, CrashAtStart, Fault, LostScrapes, SlowReplica
from perfagent.emulator.fleet import Fleet
from perfagent.emulator.model import model
from perfagent.emulator.server import serve_fleet
from perfagent.emulator.setup import Machine, StartFailed
from perfagent.twin.gpus import gpu

__all__ = [
    "BadAnswers",
    "Crash",
    "CrashAtStart",
    "EmulatedActuator",
    "Fault",
    "Fleet",
    "LostScrapes",
    "Machine",
    "Seen",
    "SlowReplica",
    "StartFailed",
    "State",
    "Timing",
    "gpu",
    "model",
    "serve_fleet",
]
