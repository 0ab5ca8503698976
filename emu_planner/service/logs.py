"""Log lines for machines: one JSON object a line, with the session that it is about.

Knows no session: whoever logs puts its name into the record (session.py). Times are UTC, ISO 8601.
"""

import json
import logging
from datetime import datetime, timezone


class JsonLines(logging.Formatter):
    """time, level, logger, message; session, where there is one; exception, as a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; line feeds within are escaped, so that nobody can forge another one."""
        at = datetime.fromtimestamp(record.created, timezone.utc)
        entry = {
            "time": at.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        session = getattr(record, "session", None)
        if session is not None:
            entry["session"] = str(session)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def log_to_stderr(*, as_json: bool) -> None:
    """Everything from INFO on: text for a person, or JSON lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if as_json else logging.Formatter("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
