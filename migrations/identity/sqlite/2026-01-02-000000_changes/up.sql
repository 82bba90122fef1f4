-- The log of changes that can turn a yes into a no. The crate `changes` says how it is used. There is one process, so there is
-- no table of replicas.

-- One row: the last change, and the last that was pruned.
CREATE TABLE change_head (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    last       INTEGER NOT NULL,
    tag        INTEGER NOT NULL,
    pruned     INTEGER NOT NULL,
    pruned_tag INTEGER NOT NULL
) STRICT;
INSERT INTO change_head (id, last, tag, pruned, pruned_tag) VALUES (1, 0, 0, 0, 0);

CREATE TABLE changes (
    sequence INTEGER PRIMARY KEY,
    -- Random: tells the change from another one of the same sequence, in another copy of the database.
    tag      INTEGER NOT NULL,
    -- `key_…`, `ses_…`, …
    subject  TEXT NOT NULL,
    -- Microseconds since 1970 UTC.
    at       INTEGER NOT NULL
) STRICT;
-- For pruning.
CREATE INDEX changes_by_time ON changes (at);
