-- How many commits the owners of an execution have made. Each names the number before it, so that one which was sent
-- behind another that failed writes nothing.
alter table executions add column batches bigint not null default 0;
