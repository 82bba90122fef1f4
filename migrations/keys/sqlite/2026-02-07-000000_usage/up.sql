-- Usage by the minute, the hour and the day, of whom a key was when it called; and where each key's last call came from.

DROP TABLE usage;

-- How often it happened. Every call is in one row of each grain, all added in one transaction, so that they agree for as
-- long as they are kept.
CREATE TABLE usage (
    -- What is counted together: a workspace's or a user's id, as text; or `instance`.
    partition TEXT NOT NULL,
    -- How many minutes the row covers: 1, 60 or 1440.
    grain     INTEGER NOT NULL,
    -- When it begins, in minutes since 1970 UTC: a multiple of the grain.
    minute    INTEGER NOT NULL,
    -- Who called: a key's or a user's id, as text.
    subject   TEXT NOT NULL,
    -- The consumer whose the key was at that time, as text; empty: nobody in particular.
    consumer  TEXT NOT NULL,
    -- A verdict code.
    code      TEXT NOT NULL,
    count     INTEGER NOT NULL,
    -- In this order for the usage of a whole workspace.
    PRIMARY KEY (partition, grain, minute, subject, consumer, code)
) STRICT, WITHOUT ROWID;
-- With all that is read: else a database that has no statistics reads the whole workspace along the primary key.
CREATE INDEX usage_by_subject ON usage (partition, subject, grain, minute, code, count);
CREATE INDEX usage_by_consumer ON usage (partition, consumer, grain, minute, code, count);
-- For retention.
CREATE INDEX usage_by_age ON usage (grain, minute);

-- The minute of `at`, since 1970: a key's row is written once in a minute at most.
ALTER TABLE last_used ADD COLUMN minute INTEGER NOT NULL DEFAULT 0;
-- The network that the call came from, as 203.0.113.0/24. Absent: not known.
ALTER TABLE last_used ADD COLUMN network TEXT;
-- What the call said of its program. Absent: not known.
ALTER TABLE last_used ADD COLUMN user_agent TEXT;
