CREATE TABLE tallies (name text PRIMARY KEY, count bigint NOT NULL);
