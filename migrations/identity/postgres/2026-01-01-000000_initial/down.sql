DROP TABLE audit_events;
DROP FUNCTION refuse_to_rewrite();
DROP TABLE signing_keys;
DROP TABLE sessions;
DROP TABLE users;
