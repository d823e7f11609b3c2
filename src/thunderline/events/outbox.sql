-- name: next_version
-- Count one more event of a subject; the row lock keeps the subject's events in order until commit.
insert into tl.subject (tenant_id, subject, version) values (tl.tenant(), %(subject)s, 1)
on conflict (tenant_id, subject) do update set version = tl.subject.version + 1
returning version;

-- name: append
-- Write one event into the outbox of the transaction's tenant.
insert into tl.outbox (tenant_id, subject, subject_version, type, data, at)
values (tl.tenant(), %(subject)s, %(version)s, %(type)s, %(data)s, %(at)s);

-- name: page
-- A tenant's numbered events after a position, in order.
select position, id::text as id, tenant_id as tenant, subject, subject_version, type, data, at
  from tl.outbox
 where position > %(after)s and (%(types)s::text[] is null or type = any(%(types)s))
 order by position
 limit %(limit)s;

-- name: last_position
-- The newest position of the transaction's tenant, 0 when there is none.
select coalesce(max(position), 0) as position from tl.outbox where position is not null;

-- name: pending
-- Events that have no position yet, oldest first, of every tenant.
select seq, 0::bigint as position, id::text as id, tenant_id as tenant, subject, subject_version, type, data, at
  from tl.outbox where position is null order by seq limit %(limit)s;

-- name: relay_step
-- Number these events.
select tl.relay_step(%(seqs)s) as numbered;
