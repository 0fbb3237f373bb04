--! oldest-program: 0.1.0
-- When a rule's condition last had no result, and how often since it was put.
alter table rules
  add column fault_at timestamptz,
  add column fault_message text,
  add column faults_count int not null default 0;
-- Whoever put it is its author.
alter table rules drop column changed_by;
