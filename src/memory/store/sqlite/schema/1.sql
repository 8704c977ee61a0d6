-- Schema 1. A schema that was ever released is never edited: the next one is a file of its own.
--
-- The words of a memory live in `memories` and nowhere else, and no cell of that table is ever moved to another
-- page: rows are only appended (`n` grows), never deleted and never made larger. Forgetting empties a row where it
-- is. SQLite's secure_delete wipes a cell that is freed, but not the copies that rebalancing pages leaves behind;
-- without rebalancing there are none. For the same reason indices hold numbers only, never words.

CREATE TABLE users (
    user  INTEGER PRIMARY KEY,
    name  TEXT NOT NULL UNIQUE,
    -- Grows with every write and delete. A row stays for ever: an epoch that began again would revive old caches.
    epoch INTEGER NOT NULL
) STRICT;

CREATE TABLE memories (
    n           INTEGER PRIMARY KEY,
    -- NULL: forgotten, and every other column is empty.
    user        INTEGER REFERENCES users,
    id          TEXT NOT NULL,
    session     TEXT,
    -- 64 bits of the SHA-256 of `session`.
    session_key INTEGER,
    role        TEXT NOT NULL,
    speaker     TEXT,
    text        TEXT NOT NULL,
    -- Milliseconds since 1970.
    created_at  INTEGER NOT NULL,
    metadata    TEXT,
    tokens      INTEGER NOT NULL
) STRICT;

CREATE INDEX memories_of_user    ON memories (user)              WHERE user IS NOT NULL;
CREATE INDEX memories_by_time    ON memories (user, created_at)  WHERE user IS NOT NULL;
CREATE INDEX memories_by_session ON memories (user, session_key) WHERE user IS NOT NULL;

-- Apart from their texts, because a new embedder replaces them.
CREATE TABLE vectors (
    n        INTEGER PRIMARY KEY REFERENCES memories,
    embedder TEXT NOT NULL,
    scale    REAL NOT NULL,
    vector   BLOB NOT NULL
) STRICT;

CREATE TABLE contexts (
    user       INTEGER PRIMARY KEY REFERENCES users,
    json       TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- Idempotency keys of the last day, and the rows `first`..`last` that were written under them.
CREATE TABLE keys (
    user    INTEGER NOT NULL REFERENCES users,
    -- SHA-256 of the client's key.
    key     BLOB NOT NULL,
    -- SHA-256 of what was written; NULL once any of it is forgotten.
    content BLOB,
    first   INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (user, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX keys_by_time ON keys (at);

CREATE TABLE activity (
    n     INTEGER PRIMARY KEY,
    user  INTEGER NOT NULL REFERENCES users,
    at    INTEGER NOT NULL,
    kind  TEXT NOT NULL,
    items INTEGER NOT NULL
) STRICT;

CREATE INDEX activity_of_user ON activity (user);
