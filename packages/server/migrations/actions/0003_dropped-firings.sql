-- What was dropped last and why, and what an event has told of it: one a window.
alter table action_rules add column last_dropped_reason text;
alter table action_rules add column dropped_told bigint not null default 0;
alter table action_rules add column dropped_told_at timestamptz;
