-- The tag query that whoever started the run was narrowed to: no other node becomes a target, and what its steps call is
-- narrowed in the same way. Null where there was none.
alter table execution_plans add column scope text;
