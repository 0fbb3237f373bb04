--! oldest-program: 0.1.0
-- One record for each call that changed something or was refused for lack of authority. Append-only.
create table audit (
  aggregate_id text not null,
  id text not null,
  account text not null,
  time timestamptz not null default now(),
  principal text not null,
  operation text not null,
  subject text not null,
  outcome text not null,
  cause text not null,
  caused_by text,
  source_address text,
  input_digest text not null,
  constraint audit_pkey primary key (aggregate_id, id)
);
comment on table audit is 'aggregate: aggregate_id';
-- audit.list: the newest first
create index audit_account_time_idx on audit (account, date_trunc('milliseconds', time at time zone 'UTC') desc, id desc);
-- why.explain: one story; one subject
create index audit_cause_idx on audit (account, cause);
create index audit_subject_idx on audit (account, subject);
-- why.explain walks events too
create index outbox_cause_idx on outbox (account, cause);
create index outbox_subject_idx on outbox (account, subject);
create index outbox_id_idx on outbox (account, id);
