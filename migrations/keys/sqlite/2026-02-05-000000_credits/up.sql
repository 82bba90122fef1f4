-- Credits: accounts, what moved in them, and what is lent to where calls spend it.

CREATE TABLE credit_accounts (
    id             BLOB PRIMARY KEY,
    workspace_id   BLOB NOT NULL REFERENCES workspaces (id),
    -- A key or a consumer. No foreign key: an account that is closed outlives its owner.
    owner_id       BLOB NOT NULL,
    -- `key` or `consumer`.
    owner_kind     TEXT NOT NULL,
    -- Units, less what is lent.
    balance        INTEGER NOT NULL CHECK (balance >= 0),
    -- How it is refilled; `null`: not by itself.
    refill         TEXT NOT NULL,
    next_refill_at INTEGER,
    -- Counts the changes of the row: what was decided on it is written to it, or not at all. The number of its last movement is
    -- at most this.
    revision       INTEGER NOT NULL,
    -- The last step that was made, or is being made, where calls spend credits; and of which epoch that is. 0: none.
    step           INTEGER NOT NULL,
    epoch          INTEGER NOT NULL,
    -- When something was lent last; absent: nothing is.
    lent_at        INTEGER,
    created_at     INTEGER NOT NULL,
    closed_at      INTEGER
) STRICT;
CREATE UNIQUE INDEX credit_accounts_open ON credit_accounts (owner_id) WHERE closed_at IS NULL;
CREATE INDEX credit_accounts_due ON credit_accounts (next_refill_at) WHERE next_refill_at IS NOT NULL AND closed_at IS NULL;
CREATE INDEX credit_accounts_lent ON credit_accounts (lent_at) WHERE lent_at IS NOT NULL AND closed_at IS NULL;

-- Never changed: the movements of an account, whose sum is its balance.
CREATE TABLE credit_ledger (
    account_id BLOB NOT NULL REFERENCES credit_accounts (id),
    -- The account's revision after it.
    number     INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    -- `grant`, `refill`, `block`, `return` or `close`.
    kind       TEXT NOT NULL,
    -- Units; negative: taken.
    amount     INTEGER NOT NULL,
    balance    INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    actor      TEXT NOT NULL,
    PRIMARY KEY (account_id, number),
    UNIQUE (account_id, request_id)
) STRICT;

-- The last steps of an account: blocks that are lent, and what is asked back.
CREATE TABLE credit_blocks (
    account_id BLOB NOT NULL REFERENCES credit_accounts (id),
    step       INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    -- Units of the block; of what was asked back, as much as came.
    amount     INTEGER NOT NULL,
    -- A block: `lent`, then `spent` (or there beside a later one), `returned` (with what was left of it) or `lost`.
    -- What is asked back: `asked`, then `returned` or `lost`.
    state      TEXT NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (account_id, step)
) STRICT;
