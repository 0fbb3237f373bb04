-- The tag query that the key of a held call was narrowed to, with which it runs; null where there was none.
alter table held_operations add column nodes text;
