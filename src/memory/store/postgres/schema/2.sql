-- Schema 2: by whose vectors memories are told apart, of gateways that are not configured alike.
--
-- At most one row. It names a model and nobody's words, so it has no wall.
CREATE TABLE concierge.embedding (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- That of the gateway that started last: see `vectors.rs`.
    embedder text NOT NULL
);
