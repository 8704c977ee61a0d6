-- Schema 2. Contexts and vectors obey the rule that texts obey since schema 1: what is replaced is emptied where it
-- is, and its successor appended, so that no page is ever rebalanced and keeps a copy. (A vector tells nearly what its
-- text said.) Both hold one live row per owner, and empty ones until the file is compacted.

CREATE TABLE contexts_2 (
    n          INTEGER PRIMARY KEY,
    -- NULL: replaced, and every other column is empty.
    user       INTEGER REFERENCES users,
    json       TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

INSERT INTO contexts_2 (user, json, updated_at) SELECT user, json, updated_at FROM contexts;
-- secure_delete wipes the pages of a table that is dropped.
DROP TABLE contexts;
ALTER TABLE contexts_2 RENAME TO contexts;
CREATE UNIQUE INDEX context_of_user ON contexts (user) WHERE user IS NOT NULL;

-- Until now nothing has written any.
DROP TABLE vectors;
CREATE TABLE vectors (
    v        INTEGER PRIMARY KEY,
    -- Of this memory; NULL: replaced or forgotten, and every other column is empty.
    n        INTEGER REFERENCES memories,
    embedder TEXT NOT NULL,
    scale    REAL NOT NULL,
    vector   BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX vector_of_memory ON vectors (n)        WHERE n IS NOT NULL;
CREATE INDEX vectors_by_embedder     ON vectors (embedder) WHERE n IS NOT NULL;
