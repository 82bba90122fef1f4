CREATE TABLE things (
    id BLOB PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    parent BLOB REFERENCES things (id),
    made_at INTEGER NOT NULL,
    gone_at INTEGER,
    labels TEXT NOT NULL,
    extra TEXT NOT NULL,
    digest BLOB NOT NULL,
    enabled INTEGER NOT NULL
) STRICT;

CREATE TABLE counts (
    thing BLOB NOT NULL REFERENCES things (id),
    minute INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (thing, minute)
) STRICT, WITHOUT ROWID;
