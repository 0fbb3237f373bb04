--! oldest-program: 0.1.0
-- One link for one person, one seat of one opened level and one content. Its text is not kept: it is computed again.
create table approval_links (
  request_id text not null,
  id text not null,
  account text not null,
  level int not null,
  -- absent of the requester's link, by which questions are answered
  seat text,
  person jsonb not null,
  digest text not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  used_at timestamptz,
  used_for text,
  constraint approval_links_pkey primary key (request_id, id),
  constraint approval_links_request foreign key (request_id) references approval_requests (id) on delete cascade
);
comment on table approval_links is 'aggregate: request_id';
