DROP TABLE imported_secrets;
