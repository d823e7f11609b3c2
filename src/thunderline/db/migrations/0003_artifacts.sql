-- Files of the Data Bank, and the model artifacts made of them.
create table tl.file (
  tenant_id text not null references tl.tenant_record (tenant_id),
  file_id text not null check (file_id ~ '^[0-9a-f]{64}$'),
  size_bytes bigint not null check (size_bytes >= 0),
  content_type text not null,
  created_at timestamptz not null,
  created_by text not null,
  primary key (tenant_id, file_id)
);
select tl.protect('tl.file');
grant select, insert, delete on tl.file to tl_app, tl_system;

create table tl.artifact (
  tenant_id text not null references tl.tenant_record (tenant_id),
  id uuid not null default uuidv7(),
  federation_id uuid,
  round_id uuid,
  kind text not null check (kind in ('checkpoint', 'adapter', 'snapshot', 'tokenizer', 'run', 'other')),
  uri text not null,
  sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
  size_bytes bigint not null check (size_bytes >= 0),
  format text not null,
  metrics jsonb not null default '{}',
  metadata jsonb not null default '{}',
  created_at timestamptz not null,
  created_by text not null,
  primary key (tenant_id, id),
  unique (tenant_id, uri),
  foreign key (tenant_id, sha256) references tl.file (tenant_id, file_id) on delete restrict
);
create index artifact_by_digest on tl.artifact (tenant_id, sha256);
create index artifact_by_federation on tl.artifact (tenant_id, federation_id);
select tl.protect('tl.artifact');
grant select, insert on tl.artifact to tl_app, tl_system;
