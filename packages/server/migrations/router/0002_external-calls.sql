--! oldest-program: 0.1.0
-- Calls that change something outside, from before they are sent until what came of them is on record: a row whose server is
-- dead was sent, or was about to be, and nobody knows what came of it. Holds nothing of what was sent.
create table external_calls (
  -- of its idempotency key, as in `idempotency`
  id text not null,
  account text not null,
  principal text not null,
  operation text not null,
  body_hash text not null,
  -- what the service is shown, however often the call is sent
  upstream_key text not null,
  request_id text not null,
  cause text not null,
  caused_by text,
  source_address text,
  state text not null default 'sending',
  server text not null,
  begun_at timestamptz not null default clock_timestamp(),
  -- nobody waits for its reply any more
  ends_at timestamptz not null,
  constraint external_calls_pkey primary key (id),
  constraint external_calls_state check (state in ('sending', 'unknown'))
);
comment on table external_calls is 'stand-alone: one call, found by its idempotency key';
create index external_calls_age on external_calls (begun_at);
