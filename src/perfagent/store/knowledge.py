"""What was learned of step times, in SQL."""

import json
import logging
from dataclasses import asdict

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select

from perfagent.domain.learned import Learned
from perfagent.store.database import Database, put
from perfagent.store.tables import STEP_TIMES

KNOWLEDGE_CODEC = 1
_LOG = logging.getLogger(__name__)
_LEARNED = TypeAdapter(Learned)


class SqlKnowledge:
    """`Knowledge`: what was put is on disk when `put` returns. Raises `StoreFailed`.

    A row that cannot be read is nothing known: it is learned again within minutes.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> Learned | None:
        """What is known under this key, or None."""
        query = select(STEP_TIMES.c.codec, STEP_TIMES.c.body).where(STEP_TIMES.c.key == key)
        with self._database.transaction(reading=True) as connection:
            row = connection.execute(query).one_or_none()
        if row is None or row.codec != KNOWLEDGE_CODEC:
            return None
        try:
            return _LEARNED.validate_json(row.body)
        except ValidationError as error:
            _LOG.warning("what was learned of %s cannot be read: %s", key, error)
            return None

    def put(self, key: str, learned: Learned) -> None:
        """Keep it, in place of what was there."""
        row = {"key": key, "codec": KNOWLEDGE_CODEC, "body": json.dumps(asdict(learned))}
        with self._database.transaction() as connection:
            put(connection, STEP_TIMES, [row])
