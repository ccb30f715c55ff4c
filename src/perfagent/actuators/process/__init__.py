"""Engines as processes of this machine: started, watched, drained, stopped and started again with other flags.

A process outlives the agent that started it. What is wanted of each replica, and which process runs for it, stands in a
file of its own, so any later agent takes them over. Linux only: processes are told apart by what `/proc` says.
"""

from perfagent.actuators.process.actuator import ProcessActuator
from perfagent.actuators.process.engine import Engine, engine_process
from perfagent.actuators.process.record import Records
from perfagent.actuators.process.supervisor import Supervisor

__all__ = ["Engine", "ProcessActuator", "Records", "Supervisor", "engine_process"]
