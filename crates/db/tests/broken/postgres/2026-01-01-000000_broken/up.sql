CREATE TABLE half (a integer);
INSERT INTO nowhere VALUES (1);
