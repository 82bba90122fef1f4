-- Credits: accounts, what moved in them, and what is lent to where calls spend it.

CREATE TABLE credit_accounts (
    id             UUID PRIMARY KEY,
    workspace_id   UUID NOT NULL REFERENCES workspaces (id),
    -- A key or a consumer. No foreign key: an account that is closed outlives its owner.
    owner_id       UUID NOT NULL,
    -- `key` or `consumer`.
    owner_kind     TEXT NOT NULL,
    -- Units, less what is lent.
    balance        BIGINT NOT NULL CHECK (balance >= 0),
    -- How it is refilled; `null`: not by itself.
    refill         JSONB NOT NULL,
    next_refill_at TIMESTAMPTZ,
    -- Counts the changes of the row: what was decided on it is written to it, or not at all. The number of its last movement is
    -- at most this.
    revision       BIGINT NOT NULL,
    -- The last step that was made, or is being made, where calls spend credits; and of which epoch that is. 0: none.
    step           BIGINT NOT NULL,
    epoch          BIGINT NOT NULL,
    -- When something was lent last; absent: nothing is.
    lent_at        TIMESTAMPTZ,
    created_at     TIMESTAMPTZ NOT NULL,
    closed_at      TIMESTAMPTZ
);
CREATE UNIQUE INDEX credit_accounts_open ON credit_accounts (owner_id) WHERE closed_at IS NULL;
CREATE INDEX credit_accounts_due ON credit_accounts (next_refill_at) WHERE next_refill_at IS NOT NULL AND closed_at IS NULL;
CREATE INDEX credit_accounts_lent ON credit_accounts (lent_at) WHERE lent_at IS NOT NULL AND closed_at IS NULL;

-- Never changed: the movements of an account, whose sum is its balance.
CREATE TABLE credit_ledger (
    account_id UUID NOT NULL REFERENCES credit_accounts (id),
    -- The account's revision after it.
    number     BIGINT NOT NULL,
    at         TIMESTAMPTZ NOT NULL,
    -- `grant`, `refill`, `block`, `return` or `close`.
    kind       TEXT NOT NULL,
    -- Units; negative: taken.
    amount     BIGINT NOT NULL,
    balance    BIGINT NOT NULL,
    request_id TEXT NOT NULL,
    actor      TEXT NOT NULL,
    PRIMARY KEY (account_id, number),
    UNIQUE (account_id, request_id)
);

-- The last steps of an account: blocks that are lent, and what is asked back.
CREATE TABLE credit_blocks (
    account_id UUID NOT NULL REFERENCES credit_accounts (id),
    step       BIGINT NOT NULL,
    epoch      BIGINT NOT NULL,
    -- Units of the block; of what was asked back, as much as came.
    amount     BIGINT NOT NULL,
    -- A block: `lent`, then `spent` (or there beside a later one), `returned` (with what was left of it) or `lost`.
    -- What is asked back: `asked`, then `returned` or `lost`.
    state      TEXT NOT NULL,
    at         TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (account_id, step)
);
