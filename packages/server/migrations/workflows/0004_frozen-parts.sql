-- Versions of the secrets and digests of the artifacts that a plan names; null where it names none.
alter table execution_plans add column parts json;

-- What runs a target's task where it has no agent itself: another node's id, or `server`.
alter table execution_targets add column runner text;
