DROP TABLE credit_blocks;
DROP TABLE credit_ledger;
DROP TABLE credit_accounts;
