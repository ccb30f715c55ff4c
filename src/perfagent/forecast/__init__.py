"""What would a change do? A replica's own metrics → a fitted twin → figures with intervals.

In the order of the walk: `server` says how the replica is set, `accounting` what its time went into, `demand` what its
clients want, `fitted` what its steps take, `memory` what fits after a change, `play` runs the twin, `predict` asks it.
"""

from perfagent.forecast.demand import Load
from perfagent.forecast.play import Figure, Run
from perfagent.forecast.predict import DRAWS, MODEL_ERROR, Case, Forecaster, Predicted, Prediction, case, wider

__all__ = [
    "DRAWS",
    "MODEL_ERROR",
    "Case",
    "Figure",
    "Forecaster",
    "Load",
    "Predicted",
    "Prediction",
    "Run",
    "case",
    "wider",
]
