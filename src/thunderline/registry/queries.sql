-- name: add_model
-- Register a model unless its name is taken.
insert into tl.model (tenant_id, name, gates, head_hash, created_at, created_by)
values (tl.tenant(), %(name)s, %(gates)s, %(head_hash)s, %(at)s, %(actor)s)
on conflict do nothing;

-- name: find_model
-- A model by name.
select name, gates, head_seq, head_hash, created_at, created_by from tl.model
 where tenant_id = tl.tenant() and name = %(name)s;

-- name: lock_model
-- A model by name, held until the transaction ends: promotions of one model take turns.
select name, gates, head_seq, head_hash, created_at, created_by from tl.model
 where tenant_id = tl.tenant() and name = %(name)s for update;

-- name: set_gates
-- Let a model that was never promoted ask for something else.
update tl.model set gates = %(gates)s where tenant_id = tl.tenant() and name = %(name)s and head_seq = 0;

-- name: advance_head
-- Move a model's history head.
update tl.model set head_seq = %(seq)s, head_hash = %(hash)s where tenant_id = tl.tenant() and name = %(name)s;

-- name: models
-- Models by name.
select name, gates, head_seq, head_hash, created_at, created_by from tl.model
 where tenant_id = tl.tenant() and name > %(after)s order by name limit %(limit)s;

-- name: version_of_artifact
-- The version under which a model has an artifact.
select model, version, artifact_id::text, sha256, created_at, created_by from tl.model_version
 where tenant_id = tl.tenant() and model = %(model)s and artifact_id = %(artifact_id)s;

-- name: find_version
-- A version by number.
select model, version, artifact_id::text, sha256, created_at, created_by from tl.model_version
 where tenant_id = tl.tenant() and model = %(model)s and version = %(version)s;

-- name: add_version
-- Give an artifact the model's next version number.
insert into tl.model_version (tenant_id, model, version, artifact_id, sha256, created_at, created_by)
select tl.tenant(), %(model)s, coalesce(max(version), 0) + 1, %(artifact_id)s, %(sha256)s, %(at)s, %(actor)s
  from tl.model_version where tenant_id = tl.tenant() and model = %(model)s
returning model, version, artifact_id::text, sha256, created_at, created_by;

-- name: versions
-- A model's versions, newest first.
select model, version, artifact_id::text, sha256, created_at, created_by from tl.model_version
 where tenant_id = tl.tenant() and model = %(model)s and version < %(before)s
 order by version desc limit %(limit)s;

-- name: add_edge
-- Note where a thing came from; the same edge twice is one edge.
insert into tl.lineage (tenant_id, child_kind, child_id, relation, parent_kind, parent_id, at)
values (tl.tenant(), %(child_kind)s, %(child_id)s, %(relation)s, %(parent_kind)s, %(parent_id)s, %(at)s)
on conflict do nothing;

-- name: edges_above
-- Every edge on the way from a thing to what it came from.
with recursive walk as (
  select l.* from tl.lineage l
   where l.tenant_id = tl.tenant() and l.child_kind = %(kind)s and l.child_id = %(id)s
  union
  select l.* from tl.lineage l join walk w
      on l.tenant_id = w.tenant_id and l.child_kind = w.parent_kind and l.child_id = w.parent_id
)
select child_kind, child_id, relation, parent_kind, parent_id from walk;

-- name: find_reference
-- What a label holds.
select model, label, artifact_id::text, version, sha256, seq, promotion_id::text, updated_at from tl.reference
 where tenant_id = tl.tenant() and model = %(model)s and label = %(label)s;

-- name: references
-- All labels of a model.
select model, label, artifact_id::text, version, sha256, seq, promotion_id::text, updated_at from tl.reference
 where tenant_id = tl.tenant() and (%(model)s::text is null or model = %(model)s) order by model, label;

-- name: set_reference
-- Let a label hold another version; the caller holds the model's lock.
insert into tl.reference (tenant_id, model, label, artifact_id, version, sha256, seq, promotion_id, updated_at)
values (tl.tenant(), %(model)s, %(label)s, %(artifact_id)s, %(version)s, %(sha256)s, %(seq)s, %(promotion_id)s, %(at)s)
on conflict (tenant_id, model, label) do update set
  artifact_id = excluded.artifact_id, version = excluded.version, sha256 = excluded.sha256,
  seq = excluded.seq, promotion_id = excluded.promotion_id, updated_at = excluded.updated_at;
