DROP TABLE key_rotations;
DROP INDEX keys_by_expiry;
DROP TABLE notices;
DROP TABLE webhook_deliveries;
DROP TABLE webhook_messages;
DROP TABLE webhooks;
