-- Only where pgvector is installed, and also later, when it is: how candidates are found by their meaning.
--
-- A table of its own, so that the one by words is the same with and without pgvector. It holds rows of users too
-- large for memory alone: a graph over everybody's rows would be larger than the rows, and a search for one user's
-- among them would find few.

CREATE TABLE IF NOT EXISTS concierge.meanings (
    user_id bigint NOT NULL,
    seq     bigint NOT NULL,
    meaning halfvec(192) NOT NULL,
    PRIMARY KEY (user_id, seq),
    FOREIGN KEY (user_id, seq) REFERENCES concierge.preselection ON DELETE CASCADE
);

CREATE INDEX IF NOT EXISTS meanings_by_nearness ON concierge.meanings USING hnsw (meaning halfvec_ip_ops);

ALTER TABLE concierge.meanings ENABLE ROW LEVEL SECURITY;
ALTER TABLE concierge.meanings FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS own ON concierge.meanings;
CREATE POLICY own ON concierge.meanings USING (user_id = (SELECT id FROM concierge.users
    WHERE name = current_setting('concierge.user', true)));
