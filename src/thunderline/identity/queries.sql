-- name: ensure_tenant
-- Make a tenant exist.
insert into tl.tenant_record (tenant_id) values (%(tenant)s) on conflict do nothing;

-- name: add_key
-- Keep the digest of a new key.
insert into tl.api_key (tenant_id, key_id, sha256, owner, scopes, expires_at)
values (%(tenant)s, %(key_id)s, %(sha256)s, %(owner)s, %(scopes)s, %(expires_at)s);

-- name: key_by_id
-- The key of that id, whatever its tenant; ids are random, so one row at most.
select tenant_id as tenant, key_id, sha256, owner, scopes, expires_at, revoked_at
  from tl.api_key where key_id = %(key_id)s;
