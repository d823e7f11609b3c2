-- name: record_file
-- Keep that a tenant has a file; the same again changes nothing.
insert into tl.file (tenant_id, file_id, size_bytes, content_type, created_at, created_by)
values (tl.tenant(), %(file_id)s, %(size_bytes)s, %(content_type)s, %(at)s, %(actor)s)
on conflict do nothing;

-- name: find_file
-- A tenant's file.
select file_id, size_bytes, content_type, created_at, created_by from tl.file
 where tenant_id = tl.tenant() and file_id = %(file_id)s;

-- name: delete_file
-- Forget a tenant's file.
delete from tl.file where tenant_id = tl.tenant() and file_id = %(file_id)s;

-- name: record_artifact
-- Keep an artifact; the same URI again changes nothing.
insert into tl.artifact (tenant_id, federation_id, round_id, kind, uri, sha256, size_bytes, format, metrics, metadata,
                         created_at, created_by)
values (tl.tenant(), %(federation_id)s, %(round_id)s, %(kind)s, %(uri)s, %(sha256)s, %(size_bytes)s, %(format)s,
        %(metrics)s, %(metadata)s, %(at)s, %(actor)s)
on conflict (tenant_id, uri) do nothing;

-- name: artifact_by_id
-- An artifact by its id.
select id::text, federation_id::text, round_id::text, kind, uri, sha256, size_bytes, format, metrics, metadata,
       created_at, created_by
  from tl.artifact where tenant_id = tl.tenant() and id = %(id)s;

-- name: artifact_by_uri
-- An artifact by its readable URI.
select id::text, federation_id::text, round_id::text, kind, uri, sha256, size_bytes, format, metrics, metadata,
       created_at, created_by
  from tl.artifact where tenant_id = tl.tenant() and uri = %(uri)s;

-- name: artifacts_by_digest
-- Artifacts with these bytes, oldest first.
select id::text, federation_id::text, round_id::text, kind, uri, sha256, size_bytes, format, metrics, metadata,
       created_at, created_by
  from tl.artifact where tenant_id = tl.tenant() and sha256 = %(sha256)s order by created_at, id;

-- name: artifacts
-- Artifacts, newest first; of one federation, or of all.
select id::text, federation_id::text, round_id::text, kind, uri, sha256, size_bytes, format, metrics, metadata,
       created_at, created_by
  from tl.artifact
 where tenant_id = tl.tenant() and (%(federation_id)s::uuid is null or federation_id = %(federation_id)s)
 order by created_at desc, id desc limit %(limit)s;

-- name: referrers
-- What refers to a file.
select 'artifact' as kind, id::text as id from tl.artifact where tenant_id = tl.tenant() and sha256 = %(file_id)s
union all
select 'round', federation_id::text || '/' || round_num from tl.fl_round
 where tenant_id = tl.tenant() and checkpoint_sha256 = %(file_id)s limit 20;

-- name: holders
-- How many tenants have a file (system transaction).
select count(*) from tl.file where file_id = %(file_id)s;

-- name: share_digest
-- Let others upload these bytes too, but nobody delete them, until the transaction ends.
select pg_advisory_xact_lock_shared(%(key)s);

-- name: own_digest
-- Let nobody else upload or delete these bytes until the transaction ends.
select pg_advisory_xact_lock(%(key)s);
