--! oldest-program: 0.1.0
create table artifacts (
  id text not null,
  account text not null,
  name text not null,
  digest text not null,
  bytes bigint not null,
  received bigint not null default 0,
  state text not null default 'uploading' check (state in ('uploading', 'ready')),
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  created_by text not null,
  touched_at timestamptz not null default now(),
  finished_at timestamptz,
  constraint artifacts_pkey primary key (id)
);
comment on table artifacts is 'aggregate: id';
create index artifacts_names on artifacts (account, name, id);
create index artifacts_digests on artifacts (account, digest);
create index artifacts_unfinished on artifacts (touched_at) where state = 'uploading';

-- The parts of an upload, each a blob, until they are put together.
create table artifact_parts (
  artifact_id text not null,
  account text not null,
  start bigint not null,
  digest text not null,
  bytes bigint not null,
  constraint artifact_parts_pkey primary key (artifact_id, start),
  constraint artifact_parts_artifact foreign key (artifact_id) references artifacts (id)
);
comment on table artifact_parts is 'aggregate: artifact_id';
