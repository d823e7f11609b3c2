-- Models, their versions, where things come from, and the references that consumers follow.
create table tl.model (
  tenant_id text not null references tl.tenant_record (tenant_id),
  name text not null,
  gates jsonb not null,
  head_seq bigint not null default 0,
  head_hash text not null,
  created_at timestamptz not null,
  created_by text not null,
  primary key (tenant_id, name)
);
select tl.protect('tl.model');
grant select, insert, update on tl.model to tl_app, tl_system;

create table tl.model_version (
  tenant_id text not null,
  model text not null,
  version integer not null check (version >= 1),
  artifact_id uuid not null,
  sha256 text not null,
  created_at timestamptz not null,
  created_by text not null,
  primary key (tenant_id, model, version),
  unique (tenant_id, model, artifact_id),
  foreign key (tenant_id, model) references tl.model (tenant_id, name),
  foreign key (tenant_id, artifact_id) references tl.artifact (tenant_id, id) on delete restrict
);
create index model_version_by_digest on tl.model_version (tenant_id, model, sha256);
select tl.protect('tl.model_version');
grant select, insert on tl.model_version to tl_app, tl_system;

-- An edge says: this child came from that parent. Kinds: artifact, round, federation, file, model, code.
create table tl.lineage (
  tenant_id text not null references tl.tenant_record (tenant_id),
  child_kind text not null,
  child_id text not null,
  relation text not null,
  parent_kind text not null,
  parent_id text not null,
  at timestamptz not null,
  primary key (tenant_id, child_kind, child_id, relation, parent_kind, parent_id)
);
select tl.protect('tl.lineage');
grant select, insert on tl.lineage to tl_app, tl_system;

create table tl.reference (
  tenant_id text not null,
  model text not null,
  label text not null,
  artifact_id uuid not null,
  version integer not null,
  sha256 text not null,
  seq bigint not null,
  promotion_id uuid not null,
  updated_at timestamptz not null,
  primary key (tenant_id, model, label),
  foreign key (tenant_id, model) references tl.model (tenant_id, name),
  foreign key (tenant_id, artifact_id) references tl.artifact (tenant_id, id) on delete restrict,
  foreign key (tenant_id, model, version) references tl.model_version (tenant_id, model, version)
);
select tl.protect('tl.reference');
grant select, insert, update on tl.reference to tl_app, tl_system;
