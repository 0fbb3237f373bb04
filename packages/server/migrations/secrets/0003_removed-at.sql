--! oldest-program: 0.1.0
-- The name of a removed secret is kept as long as the executions that may have used it, not for ever.
alter table secrets add column removed_at timestamptz;
update secrets set removed_at = now() where removed;
