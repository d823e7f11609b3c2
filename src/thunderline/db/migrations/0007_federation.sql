-- Federations, their rounds, and what each round came to.
create table tl.federation (
  tenant_id text not null references tl.tenant_record (tenant_id),
  id uuid not null default uuidv7(),
  name text not null,
  model text not null,
  spec_yaml text not null,
  prefix text not null,
  rounds integer not null check (rounds >= 1),
  status text not null check (status in ('created', 'running', 'paused', 'completed', 'failed')),
  message text not null default '',
  created_by text not null,
  created_at timestamptz not null,
  started_at timestamptz,
  completed_at timestamptz,
  attempt bigint not null default 0,
  lease_until timestamptz,
  primary key (tenant_id, id),
  unique (tenant_id, name),
  unique (tenant_id, prefix),
  foreign key (tenant_id, model) references tl.model (tenant_id, name)
);
create index federation_running on tl.federation (lease_until) where status = 'running';
select tl.protect('tl.federation');
grant select, insert, update on tl.federation to tl_app, tl_system;

create table tl.fl_round (
  tenant_id text not null,
  id uuid not null default uuidv7(),
  federation_id uuid not null,
  round_num integer not null check (round_num >= 1),
  status text not null check (status in ('running', 'completed', 'failed')),
  metrics_json jsonb not null default '{}',
  checkpoint_sha256 text,
  started_at timestamptz not null,
  completed_at timestamptz,
  primary key (tenant_id, id),
  unique (tenant_id, federation_id, round_num),
  foreign key (tenant_id, federation_id) references tl.federation (tenant_id, id)
);
select tl.protect('tl.fl_round');
grant select, insert, update on tl.fl_round to tl_app, tl_system;

create table tl.metrics_rollup (
  tenant_id text not null,
  id uuid not null default uuidv7(),
  federation_id uuid not null,
  round_id uuid,
  aggregates_json jsonb not null,
  created_at timestamptz not null,
  primary key (tenant_id, id),
  unique (tenant_id, federation_id, round_id),
  foreign key (tenant_id, federation_id) references tl.federation (tenant_id, id)
);
select tl.protect('tl.metrics_rollup');
grant select, insert on tl.metrics_rollup to tl_app, tl_system;

-- What a client may do for a federation, and until when.
create table tl.client_lease (
  tenant_id text not null references tl.tenant_record (tenant_id),
  id uuid not null default uuidv7(),
  federation_id uuid not null,
  attempt bigint not null,
  client_id text not null,
  manifest_uri text,
  lease_expires_at timestamptz not null,
  epochs_max integer not null check (epochs_max >= 1),
  tokens_max bigint not null check (tokens_max >= 1),
  status text not null check (status in ('issued', 'claimed', 'expired', 'released', 'completed')),
  created_at timestamptz not null,
  primary key (tenant_id, id),
  unique (tenant_id, federation_id, attempt, client_id),
  foreign key (tenant_id, federation_id) references tl.federation (tenant_id, id)
);
create index client_lease_open on tl.client_lease (tenant_id, federation_id) where status in ('issued', 'claimed');
select tl.protect('tl.client_lease');
grant select, insert, update on tl.client_lease to tl_app, tl_system;
