-- Keys that were made elsewhere, and that people hold already: known by a hash that was made elsewhere, too.

-- How a secret is found that has not the form of a Tollgate key. Its row in `secrets` has a public id and a digest that nobody
-- can present.
CREATE TABLE imported_secrets (
    secret_id    BLOB PRIMARY KEY REFERENCES secrets (id) ON DELETE CASCADE,
    workspace_id BLOB NOT NULL REFERENCES workspaces (id),
    -- SHA-256 of the hash as it was imported, in one spelling: what is imported again is known by it.
    fingerprint  BLOB NOT NULL CHECK (length(fingerprint) = 32),
    -- Of the whole credential. Absent until its first use if it was imported as another hash; then this takes its place.
    sha256       BLOB UNIQUE CHECK (length(sha256) = 32),
    sha512       BLOB UNIQUE CHECK (length(sha512) = 64),
    -- A hash that takes long to compute and has a salt, and the first characters of the credential, by which it is found.
    slow         TEXT,
    prefix       TEXT,
    UNIQUE (workspace_id, fingerprint),
    CHECK (sha256 IS NOT NULL OR sha512 IS NOT NULL OR (slow IS NOT NULL AND prefix IS NOT NULL))
) STRICT;
CREATE INDEX imported_secrets_by_prefix ON imported_secrets (prefix) WHERE slow IS NOT NULL;
