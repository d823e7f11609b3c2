-- name: append
-- Add a row to a model's history; the caller holds the model's lock.
insert into tl.promotion (tenant_id, model, seq, id, kind, label, artifact_id, version, sha256, previous_sha256,
                          actor, reason, at, entry, prev_hash, hash)
values (tl.tenant(), %(model)s, %(seq)s, %(id)s, %(kind)s, %(label)s, %(artifact_id)s, %(version)s, %(sha256)s,
        %(previous_sha256)s, %(actor)s, %(reason)s, %(at)s, %(entry)s, %(prev_hash)s, %(hash)s);

-- name: history
-- A model's history, oldest first; of one label, or of all.
select id::text, model, seq, kind, label, artifact_id::text, version, sha256, previous_sha256, actor, reason, at,
       entry, prev_hash, hash
  from tl.promotion
 where tenant_id = tl.tenant() and model = %(model)s and (%(label)s::text is null or label = %(label)s)
   and seq > %(after)s
 order by seq limit %(limit)s;

-- name: labels_that_held
-- Labels that held a digest, oldest promotion first.
select label from tl.promotion
 where tenant_id = tl.tenant() and model = %(model)s and sha256 = %(sha256)s order by seq;

-- name: by_id
-- One row of a history.
select id::text, model, seq, kind, label, artifact_id::text, version, sha256, previous_sha256, actor, reason, at,
       entry, prev_hash, hash
  from tl.promotion where tenant_id = tl.tenant() and id = %(id)s;

-- name: held
-- What a label holds, with its artifact and the promotion that set it.
select r.model, r.label, r.version, r.sha256, r.seq, r.promotion_id::text, r.updated_at,
       a.size_bytes, a.format, a.uri, p.previous_sha256, p.kind
  from tl.reference r
  join tl.artifact a on a.tenant_id = r.tenant_id and a.id = r.artifact_id
  join tl.promotion p on p.tenant_id = r.tenant_id and p.id = r.promotion_id
 where r.tenant_id = tl.tenant() and r.model = %(model)s and r.label = %(label)s;

-- name: latest_lock
-- Writers of one published reference take turns.
select pg_advisory_xact_lock(hashtextextended(tl.tenant() || '/' || %(model)s || ':' || %(label)s, 0));
