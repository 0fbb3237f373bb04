--! oldest-program: 0.1.0
-- One run of a rule's action: its id is made of event, rule and number, so an event that is handled again makes none.
-- What it does is frozen here; the rule may have changed by the time it runs.
create table action_runs (
  id text not null,
  account text not null,
  state text not null,
  rule text not null,
  rule_version int not null,
  number int not null,
  operation text not null,
  input jsonb,
  targets text[] not null,
  event jsonb not null,
  author text not null,
  -- False where the rule is another rules service's: then it isn't asked whether it is still there.
  is_own_rule boolean not null,
  cause text not null,
  caused_by text not null,
  depth int not null,
  attempts int not null default 0,
  redrives int not null default 0,
  tries jsonb not null default '[]',
  next_at timestamptz,
  claimed_until timestamptz,
  request_id text,
  request_url text,
  started text,
  error jsonb,
  version int not null default 1,
  created_at timestamptz not null,
  finished_at timestamptz,
  constraint action_runs_pkey primary key (id),
  constraint action_runs_end
    check ((state in ('succeeded', 'dead', 'cancelled', 'stopped')) = (finished_at is not null)),
  constraint action_runs_due check ((state in ('queued', 'running', 'held', 'failed')) = (next_at is not null))
);
comment on table action_runs is 'aggregate: id';
create index action_runs_due on action_runs (next_at) where state in ('queued', 'running', 'failed');
create index action_runs_waiting on action_runs (account, rule, next_at) where state in ('queued', 'running', 'failed');
create index action_runs_held on action_runs (account, request_id) where state = 'held';
create index action_runs_held_due on action_runs (next_at) where state = 'held';
create index action_runs_by_age on action_runs (account, created_at, id);
create index action_runs_by_rule on action_runs (account, rule, created_at, id);
create index action_runs_dead on action_runs (account, rule, created_at) where state = 'dead';
create index action_runs_by_cause on action_runs (account, cause, rule);
create index action_runs_age on action_runs (finished_at) where finished_at is not null;

-- What storm control counts of a rule. Its lock lets one server at a time decide about the rule's events.
create table action_rules (
  id text not null,
  account text not null,
  rule text not null,
  budget jsonb not null default '[]',
  fired bigint not null default 0,
  suppressed bigint not null default 0,
  dropped bigint not null default 0,
  groups_count int not null default 0,
  evicted bigint not null default 0,
  last_fired_at timestamptz,
  last_dropped_at timestamptz,
  last_error text,
  last_error_at timestamptz,
  touched_at timestamptz not null,
  constraint action_rules_pkey primary key (id)
);
comment on table action_rules is 'aggregate: id';
create index action_rules_by_name on action_rules (account, rule);
create index action_rules_age on action_rules (touched_at);

-- The state of one group of events: of a limit or a correlation. `event`: what fires when the time comes.
create table action_groups (
  rule_id text not null,
  key text not null,
  account text not null,
  rule_version int not null,
  state jsonb not null,
  event jsonb,
  due_at timestamptz,
  expires_at timestamptz,
  touched_at timestamptz not null,
  constraint action_groups_pkey primary key (rule_id, key)
);
comment on table action_groups is 'aggregate: rule_id';
create index action_groups_due on action_groups (due_at) where due_at is not null;
create index action_groups_expired on action_groups (expires_at) where expires_at is not null;
create index action_groups_touched on action_groups (rule_id, touched_at);

-- Events that a rule with a limit or a correlation has counted, so that one that comes again is not counted twice.
create table action_inbox (
  rule_id text not null,
  event_id text not null,
  account text not null,
  seen_at timestamptz not null,
  constraint action_inbox_pkey primary key (rule_id, event_id)
);
comment on table action_inbox is 'aggregate: rule_id';
create index action_inbox_age on action_inbox (seen_at);
