-- Tenants, API keys, and what every later table needs: the schema, the tenant of the transaction.
create schema tl;
grant usage on schema tl to tl_app, tl_system;

create function tl.tenant() returns text language sql stable
  as $$ select nullif(current_setting('app.tenant', true), '') $$;

-- Force row-level security on a table: tl_app sees its tenant, tl_system sees all, nobody else anything.
create function tl.protect(relation regclass) returns void language plpgsql as $$
begin
  execute format('alter table %s enable row level security', relation);
  execute format('alter table %s force row level security', relation);
  execute format('create policy tenant on %s to tl_app using (tenant_id = (select tl.tenant())) '
                 'with check (tenant_id = (select tl.tenant()))', relation);
  execute format('create policy system on %s to tl_system using (true) with check (true)', relation);
end $$;

create table tl.tenant_record (
  tenant_id text primary key check (tenant_id ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
  created_at timestamptz not null default now()
);
select tl.protect('tl.tenant_record');
grant select on tl.tenant_record to tl_app;
grant select, insert on tl.tenant_record to tl_system;

create table tl.api_key (
  tenant_id text not null references tl.tenant_record (tenant_id),
  key_id text not null,
  sha256 text not null,
  owner text not null,
  scopes text[] not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  primary key (tenant_id, key_id)
);
create index api_key_by_id on tl.api_key (key_id);
select tl.protect('tl.api_key');
grant select, insert on tl.api_key to tl_app, tl_system;
grant update (revoked_at) on tl.api_key to tl_app, tl_system;
