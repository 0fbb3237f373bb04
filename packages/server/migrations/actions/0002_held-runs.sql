-- Held runs of a rule, which are withdrawn when it goes.
create index action_runs_held_by_rule on action_runs (account, rule, id) where state = 'held';
