-- The outbox: events are written with the change they tell of; the relay numbers them without gaps.
create table tl.subject (
  tenant_id text not null references tl.tenant_record (tenant_id),
  subject text not null,
  version bigint not null,
  primary key (tenant_id, subject)
);
select tl.protect('tl.subject');
grant select, insert, update on tl.subject to tl_app, tl_system;

create table tl.outbox (
  seq bigint generated always as identity primary key,
  position bigint unique,
  tenant_id text not null references tl.tenant_record (tenant_id),
  id uuid not null default uuidv7(),
  subject text not null,
  subject_version bigint not null,
  type text not null,
  data jsonb not null,
  at timestamptz not null,
  unique (tenant_id, subject, subject_version)
);
create index outbox_unnumbered on tl.outbox (seq) where position is null;
create index outbox_by_tenant on tl.outbox (tenant_id, position);
select tl.protect('tl.outbox');
grant select, insert on tl.outbox to tl_app, tl_system;
grant update (position) on tl.outbox to tl_system;

create function tl.outbox_written() returns trigger language plpgsql as $$
begin perform pg_notify('tl_outbox', ''); return null; end $$;
create trigger outbox_written after insert on tl.outbox for each statement execute function tl.outbox_written();

create table tl.relay (
  single boolean primary key default true check (single),
  last bigint not null
);
insert into tl.relay (last) values (0);
alter table tl.relay enable row level security;
alter table tl.relay force row level security;
create policy system on tl.relay to tl_system using (true) with check (true);
grant select, update on tl.relay to tl_system;

-- Give these events the next positions, without gaps; one relay works, others stand by. Those that another
-- relay numbered meanwhile keep the position they have.
create function tl.relay_step(seqs bigint[]) returns bigint language plpgsql as $$
declare base bigint; n bigint;
begin
  select last into base from tl.relay for update;
  with p as (
    select seq, row_number() over (order by seq) k from tl.outbox where position is null and seq = any(seqs))
  update tl.outbox o set position = base + p.k from p where o.seq = p.seq;
  get diagnostics n = row_count;
  if n > 0 then
    update tl.relay set last = base + n;
    perform pg_notify('tl_events', (base + n)::text);
  end if;
  return n;
end $$;
