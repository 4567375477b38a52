-- A partial backup holds the schema, the rows or chosen tables alone: it is no way back for the whole database.
ALTER TABLE backups ADD COLUMN partial BOOLEAN NOT NULL DEFAULT FALSE;
