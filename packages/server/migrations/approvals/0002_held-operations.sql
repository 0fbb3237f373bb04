--! oldest-program: 0.1.0
-- A call that waits for its request's approval. Its input may hold secrets: it is sealed, and goes when the call has ended.
create table held_operations (
  request_id text not null,
  account text not null,
  operation text not null,
  sealed text,
  principal text not null,
  -- of a schedule: who made it
  author text,
  roles text[] not null,
  -- the caller's: whoever sends the same call again learns what came of this one
  idempotency_key text not null,
  body_hash text not null,
  not_before timestamptz,
  window_name text,
  break_glass text,
  state text not null,
  result json,
  error_code text,
  error_message text,
  created_at timestamptz not null,
  called_at timestamptz,
  ran_at timestamptz,
  constraint held_operations_pkey primary key (request_id)
);
comment on table held_operations is 'aggregate: request_id';
-- what was approved and has not run
create index held_operations_approved on held_operations (not_before) where state = 'approved';
