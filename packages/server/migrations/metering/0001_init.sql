--! oldest-program: 0.1.0
create table uses (
  id text not null,
  account text not null,
  operation text not null,
  principal text not null,
  used_at timestamptz not null,
  constraint uses_pkey primary key (id)
);
comment on table uses is 'stand-alone: one call, found by the id of its request';
create index uses_age on uses (used_at);
