--! oldest-program: 0.1.0
-- Content of the blob store, and who needs it. A blob is written down here before its content appears in the store,
-- so that nothing in the store is unknown; it is removed only after it stood condemned, and unreferenced, for a while.
create table blob (
  digest text primary key,
  bytes bigint not null,
  touched_at timestamptz not null default now(),
  condemned_at timestamptz
);
comment on table blob is 'stand-alone: content is named by its digest, whatever account stored it';
create index blob_age on blob (touched_at);

create table blob_reference (
  aggregate_id text not null,
  digest text not null,
  account text not null,
  bytes bigint not null,
  created_at timestamptz not null default now(),
  primary key (aggregate_id, digest)
);
comment on table blob_reference is 'aggregate: aggregate_id';
create index blob_reference_digest on blob_reference (digest);

-- Which blob store a server uses: servers of one installation share one, or a second one does not start.
alter table server add column blob_store text;
