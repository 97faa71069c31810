"""Arrays of texts on their way to Postgres."""

from __future__ import annotations

from psycopg.adapt import Dumper


class TextArrayDumper(Dumper):
    """A list of texts as COPY reads it. psycopg's own looks for the type of every element of every row."""

    def dump(self, obj: list[str]) -> bytes:
        if not obj:
            return b"{}"
        # All at once: no text of an event contains NUL, so it can stand between them meanwhile.
        escaped = "\0".join(obj).replace("\\", r"\\").replace('"', r"\"").replace("\0", '","')
        return f'{{"{escaped}"}}'.encode()
