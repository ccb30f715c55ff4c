"""Edge: emulated engines over HTTP on top of the twin, for the demo and the tests."""
