DROP TABLE replicas;
DROP TABLE changes;
DROP TABLE change_head;
DROP FUNCTION tell_of_acknowledgement();
DROP FUNCTION tell_of_change();
