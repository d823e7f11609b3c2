-- Who serves what: the last word of each consumer, and every change of it.
create table tl.consumer (
  tenant_id text not null references tl.tenant_record (tenant_id),
  consumer_id text not null,
  model text not null,
  label text not null,
  watch text not null check (watch in ('events', 'polling')),
  state text not null check (state in ('starting', 'serving', 'rejected')),
  sha256 text,
  seq bigint,
  reason text,
  first_seen timestamptz not null,
  last_seen timestamptz not null,
  primary key (tenant_id, consumer_id)
);
select tl.protect('tl.consumer');
grant select, insert, update on tl.consumer to tl_app, tl_system;

create table tl.adoption (
  tenant_id text not null,
  id uuid not null default uuidv7(),
  consumer_id text not null,
  state text not null,
  sha256 text,
  seq bigint,
  reason text,
  at timestamptz not null,
  primary key (tenant_id, id),
  foreign key (tenant_id, consumer_id) references tl.consumer (tenant_id, consumer_id)
);
create index adoption_by_consumer on tl.adoption (tenant_id, consumer_id, at);
select tl.protect('tl.adoption');
grant select, insert on tl.adoption to tl_app, tl_system;
