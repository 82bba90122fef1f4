DROP INDEX audit_events_by_target;
DROP INDEX audit_events_by_action;
DROP INDEX audit_events_by_actor;
DROP TABLE invitations;
DROP INDEX workspaces_by_maker;
ALTER TABLE workspaces DROP COLUMN created_by;
