-- Mail is stored as it came: compressing it again costs more than it saves.
ALTER TABLE contents ALTER COLUMN body SET STORAGE EXTERNAL;
