--! oldest-program: 0.1.0
-- Which key a server signs with, as long as it lives: calls between servers are believed by it.
alter table server add column signing_key text;
