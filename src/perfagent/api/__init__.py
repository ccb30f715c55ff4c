"""Edge: the REST API. Routes are one call and one translation; what is decided is decided elsewhere."""

from perfagent.api.app import create_app

__all__ = ["create_app"]
