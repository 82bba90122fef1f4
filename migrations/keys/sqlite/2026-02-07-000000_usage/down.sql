ALTER TABLE last_used DROP COLUMN user_agent;
ALTER TABLE last_used DROP COLUMN network;
ALTER TABLE last_used DROP COLUMN minute;
DROP TABLE usage;
CREATE TABLE usage (
    partition TEXT NOT NULL,
    subject   TEXT NOT NULL,
    minute    INTEGER NOT NULL,
    code      TEXT NOT NULL,
    count     INTEGER NOT NULL,
    PRIMARY KEY (partition, subject, minute, code)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_by_minute ON usage (minute);
