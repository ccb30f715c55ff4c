"""The services that callers registered, in SQL."""

from collections.abc import Sequence

from sqlalchemy import delete, select

from perfagent.domain.errors import NotFound
from perfagent.domain.service import Service
from perfagent.store.codec import SERVICE_CODEC, decode_service, encode_service
from perfagent.store.database import Database, put
from perfagent.store.tables import SERVICES


class SqlServices:
    """`Services`: what was put is on disk when `put` returns.

    Every method raises `StoreFailed`, also for a service that cannot be read: to lose one silently would be worse.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, service: Service) -> None:
        """Keep this service, in place of the one with the same id."""
        row = {"id": service.id, "codec": SERVICE_CODEC, "body": encode_service(service)}
        with self._database.transaction() as connection:
            put(connection, SERVICES, [row])

    def get(self, service_id: str) -> Service:
        """The service as it was put. Raises `NotFound`."""
        query = select(SERVICES.c.codec, SERVICES.c.body).where(SERVICES.c.id == service_id)
        with self._database.transaction(reading=True) as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"no service {service_id!r}")
        return decode_service(row.codec, row.body)

    def list(self) -> Sequence[Service]:
        """All services by id."""
        with self._database.transaction(reading=True) as connection:
            rows = connection.execute(select(SERVICES.c.codec, SERVICES.c.body).order_by(SERVICES.c.id)).all()
        return [decode_service(row.codec, row.body) for row in rows]

    def delete(self, service_id: str) -> None:
        """Forget the service. Raises `NotFound`."""
        with self._database.transaction() as connection:
            gone = connection.execute(delete(SERVICES).where(SERVICES.c.id == service_id)).rowcount
        if not gone:
            raise NotFound(f"no service {service_id!r}")
