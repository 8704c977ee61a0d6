-- Schema 1. A schema that was ever released is never edited: the next one is a file of its own.
--
-- The same as the SQLite store's, with two differences. A row is numbered within its user: the row of the user is
-- locked by every write, so that numbers and epochs of one user grow in the order of commits. And a row that is
-- forgotten is deleted: where its bytes go then is PostgreSQL's affair.
--
-- Row-level security is a second wall: every statement already names its user, and a table shows only the rows of
-- the user whom the transaction has named in `concierge.user`. FORCE binds the owner, too; a superuser is not bound.

-- Whom rows belong to. It holds no word of anybody and is how a name becomes a number, so it has no wall.
CREATE TABLE concierge.users (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name      text COLLATE "C" NOT NULL UNIQUE,
    -- Grows with every write and delete. A row stays for ever: an epoch that began again would revive old caches.
    epoch     bigint NOT NULL,
    -- The last epoch that did more than append: an index that is older is built anew.
    rewritten bigint NOT NULL DEFAULT 0,
    last_seq  bigint NOT NULL DEFAULT 0,
    memories  bigint NOT NULL DEFAULT 0,
    -- Of their texts.
    bytes     bigint NOT NULL DEFAULT 0,
    -- When the oldest memory was said, or before; NULL without memories.
    oldest    bigint,
    -- Whose vectors, if not those of the built-in table, the memories have up to which number: see `vectors.rs`.
    embedder    text COLLATE "C",
    embedded_to bigint NOT NULL DEFAULT 0,
    -- The gateway that is at it, and until when the others leave it to it.
    embedded_by bigint,
    leased_to   timestamptz
);

CREATE INDEX users_by_oldest   ON concierge.users (oldest) WHERE oldest IS NOT NULL;
CREATE INDEX users_by_embedder ON concierge.users (embedder);
CREATE INDEX users_to_embed    ON concierge.users (id) WHERE embedded_to < last_seq;

CREATE TABLE concierge.memories (
    user_id     bigint NOT NULL REFERENCES concierge.users,
    seq         bigint NOT NULL,
    id          text COLLATE "C" NOT NULL,
    session     text COLLATE "C",
    -- 64 bits of the SHA-256 of `session`: a name may be longer than an index takes.
    session_key bigint,
    role        text NOT NULL,
    speaker     text,
    text        text NOT NULL,
    -- Milliseconds since 1970.
    created_at  bigint NOT NULL,
    metadata    text,
    tokens      bigint NOT NULL,
    PRIMARY KEY (user_id, seq)
);

CREATE INDEX memories_by_time    ON concierge.memories (user_id, created_at, seq);
CREATE INDEX memories_by_session ON concierge.memories (user_id, session_key) WHERE session_key IS NOT NULL;

-- Apart from their texts, because a new embedder replaces them.
CREATE TABLE concierge.vectors (
    user_id  bigint NOT NULL,
    seq      bigint NOT NULL,
    embedder text NOT NULL,
    scale    real NOT NULL,
    vector   bytea NOT NULL,
    PRIMARY KEY (user_id, seq),
    FOREIGN KEY (user_id, seq) REFERENCES concierge.memories ON DELETE CASCADE
);

-- How many vectors of whom a user has, for operators, who may count what they may not see: no wall.
CREATE TABLE concierge.embedders (
    user_id  bigint NOT NULL REFERENCES concierge.users,
    embedder text COLLATE "C" NOT NULL,
    vectors  bigint NOT NULL,
    PRIMARY KEY (embedder, user_id)
);

CREATE TABLE concierge.contexts (
    user_id    bigint PRIMARY KEY REFERENCES concierge.users,
    json       text NOT NULL,
    updated_at bigint NOT NULL
);

-- Idempotency keys of the user's last day, and the `items` rows `first`..`last` that were written under them.
CREATE TABLE concierge.keys (
    user_id bigint NOT NULL REFERENCES concierge.users,
    -- SHA-256 of the client's key.
    key     bytea NOT NULL,
    -- SHA-256 of what was written; NULL once any of it is forgotten.
    content bytea,
    first   bigint NOT NULL,
    last    bigint NOT NULL,
    items   bigint NOT NULL,
    at      bigint NOT NULL,
    PRIMARY KEY (user_id, key)
);

CREATE TABLE concierge.activity (
    user_id bigint NOT NULL REFERENCES concierge.users,
    n       bigint GENERATED ALWAYS AS IDENTITY,
    at      bigint NOT NULL,
    kind    text NOT NULL,
    items   bigint NOT NULL,
    PRIMARY KEY (user_id, n)
);

-- How candidates of a user too large for an index in memory are found by their words: see `preselect.rs`.
CREATE TABLE concierge.preselection (
    user_id bigint NOT NULL,
    seq     bigint NOT NULL,
    -- 64 bits of the SHA-256 of the user and a stem, for each stem.
    terms   bigint[] NOT NULL,
    PRIMARY KEY (user_id, seq),
    FOREIGN KEY (user_id, seq) REFERENCES concierge.memories ON DELETE CASCADE
);

CREATE INDEX preselection_by_term ON concierge.preselection USING gin (terms);

DO $$
DECLARE guarded text;
BEGIN
    FOREACH guarded IN ARRAY ARRAY['memories', 'vectors', 'contexts', 'keys', 'activity', 'preselection'] LOOP
        EXECUTE format('ALTER TABLE concierge.%I ENABLE ROW LEVEL SECURITY', guarded);
        EXECUTE format('ALTER TABLE concierge.%I FORCE ROW LEVEL SECURITY', guarded);
        -- The subquery runs once per statement. Without a named user it finds nobody.
        EXECUTE format('CREATE POLICY own ON concierge.%I USING (user_id = (SELECT id FROM concierge.users
                        WHERE name = current_setting(''concierge.user'', true)))', guarded);
    END LOOP;
END $$;
