--! oldest-program: 0.1.0
create table approval_groups (
  account text not null references accounts (account),
  name text not null,
  id text not null,
  description text,
  members jsonb not null,
  version bigint not null default 1,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint approval_groups_pkey primary key (account, name)
);
comment on table approval_groups is 'configuration';

-- A template that was removed keeps its versions: requests under way name them.
create table approval_templates (
  account text not null references accounts (account),
  name text not null,
  id text not null,
  version bigint not null,
  definition jsonb not null,
  removed boolean not null default false,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint approval_templates_pkey primary key (account, name)
);
comment on table approval_templates is 'configuration';

create table approval_template_versions (
  account text not null,
  name text not null,
  version bigint not null,
  definition jsonb not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint approval_template_versions_pkey primary key (account, name, version),
  constraint approval_template_versions_of foreign key (account, name) references approval_templates (account, name)
);
comment on table approval_template_versions is 'configuration';

create table approval_associations (
  account text not null references accounts (account),
  name text not null,
  id text not null,
  description text,
  template text not null,
  groups jsonb not null,
  selector jsonb not null,
  bind text not null,
  version bigint not null default 1,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint approval_associations_pkey primary key (account, name),
  constraint approval_associations_template foreign key (account, template)
    references approval_templates (account, name)
);
comment on table approval_associations is 'configuration';
create index approval_associations_by_template on approval_associations (account, template);

-- Without a delegate it is an absence.
create table approval_delegations (
  account text not null references accounts (account),
  id text not null,
  member jsonb not null,
  delegate jsonb,
  from_at timestamptz not null,
  until_at timestamptz not null,
  note text,
  version bigint not null default 1,
  created_at timestamptz not null,
  created_by text not null,
  ended_at timestamptz,
  constraint approval_delegations_pkey primary key (account, id)
);
comment on table approval_delegations is 'configuration';

-- `state_data` is the machine's whole state; the columns beside it are for finding requests. `version` counts events.
create table approval_requests (
  id text not null,
  account text not null,
  state text not null,
  type text not null,
  title text not null,
  revision int not null,
  digest text not null,
  attributes jsonb not null,
  content jsonb not null,
  state_data jsonb not null,
  next_timer_at timestamptz,
  requester text not null,
  submitter text not null,
  unmatched text not null,
  callback text,
  not_before timestamptz,
  held jsonb,
  version bigint not null,
  cause text not null,
  depth int not null,
  submitted_at timestamptz not null,
  decided_at timestamptz,
  constraint approval_requests_pkey primary key (id)
);
comment on table approval_requests is 'aggregate: id';
create index approval_requests_by_account on approval_requests (account, id);
create index approval_requests_by_requester on approval_requests (account, requester, id);
create index approval_requests_by_submitter on approval_requests (account, submitter, id);
create index approval_requests_going_on on approval_requests (account, state, id) where decided_at is null;
-- what is due
create index approval_requests_due on approval_requests (next_timer_at) where next_timer_at is not null;
-- retention
create index approval_requests_ended on approval_requests (decided_at) where decided_at is not null;

-- Append-only. `envelope` is the signed vote.
create table approval_votes (
  request_id text not null,
  number int not null,
  account text not null,
  level int not null,
  level_name text not null,
  member jsonb not null,
  voter jsonb not null,
  choice text not null,
  digest text not null,
  revision int not null,
  via text not null,
  comment text,
  at timestamptz not null,
  envelope text,
  constraint approval_votes_pkey primary key (request_id, number),
  constraint approval_votes_request foreign key (request_id) references approval_requests (id) on delete cascade
);
comment on table approval_votes is 'aggregate: request_id';

-- Who has to answer now: members and their delegates, each while their vote is missing.
create table approval_waits (
  request_id text not null,
  member_key text not null,
  account text not null,
  level int not null,
  since timestamptz not null,
  constraint approval_waits_pkey primary key (request_id, member_key),
  constraint approval_waits_request foreign key (request_id) references approval_requests (id) on delete cascade
);
comment on table approval_waits is 'aggregate: request_id';
create index approval_waits_of_member on approval_waits (account, member_key, request_id);
