-- The runs of rules' actions that a reply told of: a repeat of the call tells of the same.
alter table idempotency add column started jsonb;
