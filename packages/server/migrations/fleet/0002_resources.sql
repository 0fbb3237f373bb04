-- A resource is a target without an agent of its own: a database, a service, a member of a load balancer. Its tasks run
-- on the node that stands in for it (`runner`), or as operations and HTTP calls of the server where there is none.
alter table nodes alter column public_key drop not null;
alter table nodes alter column enrolled_with drop not null;
alter table nodes add column kind text not null default 'node';
alter table nodes add column runner text;
