CREATE TABLE things (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    parent uuid REFERENCES things (id),
    made_at timestamptz NOT NULL,
    gone_at timestamptz,
    labels text[] NOT NULL,
    extra jsonb NOT NULL,
    digest bytea NOT NULL,
    enabled boolean NOT NULL
);

CREATE TABLE counts (
    thing uuid NOT NULL REFERENCES things (id),
    minute timestamptz NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (thing, minute)
);
