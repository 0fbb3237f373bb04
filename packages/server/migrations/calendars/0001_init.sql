--! oldest-program: 0.1.0
create table maintenance_windows (
  account text not null,
  name text not null,
  id text not null,
  description text,
  cron text,
  at timestamptz,
  zone text not null,
  duration_ms bigint not null,
  cutoff_ms bigint not null,
  excluded_dates text[] not null,
  version bigint not null default 1,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint maintenance_windows_pkey primary key (account, name)
);
comment on table maintenance_windows is 'configuration';

-- A schedule has at most one firing without an outcome (`pending_firing`), so firings are in order and never at once.
create table schedules (
  account text not null,
  name text not null,
  id text not null,
  description text,
  cron text,
  at timestamptz,
  every_ms bigint,
  zone text,
  from_at timestamptz,
  until_at timestamptz,
  catch_up text not null,
  catch_up_max int not null,
  start_within_ms bigint not null,
  overlap text not null,
  windows text[] not null,
  operation text not null,
  input json not null,
  enabled boolean not null,
  paused_reason text,
  author text not null,
  author_roles text[] not null,
  next_at timestamptz,
  pending_firing text,
  last_started text,
  last_firing text,
  version bigint not null default 1,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  constraint schedules_pkey primary key (account, name)
);
comment on table schedules is 'configuration';
-- what is due
create index schedules_due on schedules (next_at) where enabled and pending_firing is null;
-- what waits for an outcome
create index schedules_pending on schedules (pending_firing) where pending_firing is not null;

-- One time that a schedule came due. What it calls is frozen here, so that a repeat after a crash is the same call.
create table schedule_firings (
  schedule_id text not null,
  id text not null,
  account text not null,
  schedule text not null,
  -- absent of one that was asked for
  due_at timestamptz,
  created_at timestamptz not null,
  start_before timestamptz not null,
  operation text not null,
  input json,
  called boolean not null default false,
  outcome text not null,
  fired_at timestamptz,
  started text,
  request_url text,
  code text,
  reason text,
  instants_count int not null,
  cause text not null,
  caused_by text not null,
  depth int not null,
  constraint schedule_firings_pkey primary key (schedule_id, id)
);
comment on table schedule_firings is 'aggregate: schedule_id';
-- An instant fires once, whoever claims it.
create unique index schedule_firings_due on schedule_firings (schedule_id, due_at);
-- retention
create index schedule_firings_age on schedule_firings (created_at);
