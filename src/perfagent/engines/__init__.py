"""What each engine calls things: one table per engine, and reading and rendering through it.

The only place that knows an engine by name.
"""
