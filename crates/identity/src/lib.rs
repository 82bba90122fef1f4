//! The identity role: users, passwords, sessions, tokens and signing keys.
