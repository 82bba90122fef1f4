//! Connection pools, transactions and migrations on PostgreSQL and SQLite.
