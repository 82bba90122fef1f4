DROP TABLE counts;
DROP TABLE things;
