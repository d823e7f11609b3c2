-- The history of each model: append-only, chained by hash; `entry` holds the exact bytes that were hashed.
create table tl.promotion (
  tenant_id text not null,
  model text not null,
  seq bigint not null check (seq >= 1),
  id uuid not null,
  kind text not null check (kind in ('promotion', 'rollback')),
  label text not null,
  artifact_id uuid not null,
  version integer not null,
  sha256 text not null,
  previous_sha256 text,
  actor text not null,
  reason text not null,
  at timestamptz not null,
  entry bytea not null,
  prev_hash text not null,
  hash text not null,
  primary key (tenant_id, model, seq),
  unique (tenant_id, id),
  foreign key (tenant_id, model) references tl.model (tenant_id, name),
  foreign key (tenant_id, artifact_id) references tl.artifact (tenant_id, id) on delete restrict
);
select tl.protect('tl.promotion');
grant select, insert on tl.promotion to tl_app, tl_system;
