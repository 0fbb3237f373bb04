-- The tag query that a key is narrowed to; null where it is not.
alter table api_keys add column nodes text;
