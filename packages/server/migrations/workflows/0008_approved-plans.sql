--! oldest-program: 0.1.0
-- The approval request that a run was held for: nodes that want its approval are shown it.
alter table execution_plans add column approval text;
