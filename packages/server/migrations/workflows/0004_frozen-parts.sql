-- Versions of the secrets and digests of the artifacts that a plan names; null where it names none.
alter table execution_plans add column parts json;
