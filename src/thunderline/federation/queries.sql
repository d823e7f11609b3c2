-- name: add_federation
-- Keep a federation; nothing happens when its name or prefix is taken.
insert into tl.federation (tenant_id, name, model, spec_yaml, prefix, rounds, status, created_by, created_at)
values (tl.tenant(), %(name)s, %(model)s, %(spec_yaml)s, %(prefix)s, %(rounds)s, 'created', %(actor)s, %(at)s)
on conflict do nothing
returning id::text, tenant_id, name, model, spec_yaml, prefix, rounds, status, message, created_by, created_at,
          started_at, completed_at;

-- name: federation_by_id
-- A federation.
select id::text, tenant_id, name, model, spec_yaml, prefix, rounds, status, message, created_by, created_at,
       started_at, completed_at
  from tl.federation where tenant_id = tl.tenant() and id = %(id)s;

-- name: federation_by_name
-- A federation by its name.
select id::text, tenant_id, name, model, spec_yaml, prefix, rounds, status, message, created_by, created_at,
       started_at, completed_at
  from tl.federation where tenant_id = tl.tenant() and name = %(name)s;

-- name: federation_by_prefix
-- The federation that writes below a prefix.
select id::text, tenant_id, name, model, spec_yaml, prefix, rounds, status, message, created_by, created_at,
       started_at, completed_at
  from tl.federation where tenant_id = tl.tenant() and prefix = %(prefix)s;

-- name: lock_federation
-- A federation, held until the transaction ends.
select id::text, tenant_id, name, model, spec_yaml, prefix, rounds, status, message, created_by, created_at,
       started_at, completed_at
  from tl.federation where tenant_id = tl.tenant() and id = %(id)s for update;

-- name: federations
-- Federations, newest first.
select id::text, tenant_id, name, model, spec_yaml, prefix, rounds, status, message, created_by, created_at,
       started_at, completed_at
  from tl.federation where tenant_id = tl.tenant() order by created_at desc, id desc limit %(limit)s;

-- name: set_status
-- Move a federation to another state; a resumed one has not ended any more.
update tl.federation
   set status = %(status)s, message = %(message)s,
       started_at = case when %(status)s = 'running' then coalesce(started_at, %(at)s) else started_at end,
       completed_at = case when %(status)s in ('completed', 'failed') then %(at)s::timestamptz end
 where tenant_id = tl.tenant() and id = %(id)s;

-- name: claim
-- Take a federation that should run and that nobody runs (system transaction).
update tl.federation set attempt = attempt + 1, lease_until = now() + make_interval(secs => %(lease_s)s)
 where (tenant_id, id) in (
   select tenant_id, id from tl.federation
    where status = 'running' and (lease_until is null or lease_until < now()) and not id = any(%(held)s::uuid[])
    order by started_at limit 1 for update skip locked)
returning tenant_id as tenant, id::text as federation_id, attempt;

-- name: beat
-- Say that an attempt still runs (system transaction); no row: another attempt has taken over.
update tl.federation set lease_until = now() + make_interval(secs => %(lease_s)s)
 where tenant_id = %(tenant)s and id = %(id)s and attempt = %(attempt)s returning status;

-- name: release
-- Give an attempt back, to be taken again after a while (system transaction).
update tl.federation set lease_until = now() + make_interval(secs => %(pause_s)s)
 where tenant_id = %(tenant)s and id = %(id)s and attempt = %(attempt)s;

-- name: end_attempt
-- Let the attempt count no more, even when the federation is resumed before its process has noticed.
update tl.federation set attempt = attempt + 1, lease_until = null where tenant_id = tl.tenant() and id = %(id)s;

-- name: hold
-- The state of a federation, held until the transaction ends; no row: this attempt is not the one that counts.
select status from tl.federation
 where tenant_id = tl.tenant() and id = %(id)s and attempt = %(attempt)s for update;

-- name: status_of
-- The state of a federation; no row: this attempt is not the one that counts.
select status from tl.federation where tenant_id = tl.tenant() and id = %(id)s and attempt = %(attempt)s;

-- name: begin_round
-- Begin a round; nothing is returned when it was begun before.
insert into tl.fl_round (tenant_id, federation_id, round_num, status, started_at)
values (tl.tenant(), %(federation_id)s, %(round_num)s, 'running', %(at)s)
on conflict do nothing returning id::text;

-- name: begin_round_again
-- Begin a round that an earlier attempt began and did not complete.
update tl.fl_round set status = 'running', started_at = %(at)s, completed_at = null
 where tenant_id = tl.tenant() and federation_id = %(federation_id)s and round_num = %(round_num)s
   and status <> 'completed';

-- name: complete_round
-- A round is over.
update tl.fl_round set status = 'completed', metrics_json = %(metrics)s, checkpoint_sha256 = %(sha256)s,
       completed_at = %(at)s
 where tenant_id = tl.tenant() and federation_id = %(federation_id)s and round_num = %(round_num)s
   and status = 'running' returning id::text;

-- name: fail_rounds
-- Rounds in progress came to nothing.
update tl.fl_round set status = 'failed', completed_at = %(at)s
 where tenant_id = tl.tenant() and federation_id = %(federation_id)s and status = 'running';

-- name: rounds
-- Rounds of a federation, in order.
select id::text, federation_id::text, round_num, status, metrics_json, checkpoint_sha256, started_at, completed_at
  from tl.fl_round where tenant_id = tl.tenant() and federation_id = %(federation_id)s and round_num > %(after)s
 order by round_num limit %(limit)s;

-- name: last_round
-- The last completed round of a federation.
select id::text, federation_id::text, round_num, status, metrics_json, checkpoint_sha256, started_at, completed_at
  from tl.fl_round where tenant_id = tl.tenant() and federation_id = %(federation_id)s and status = 'completed'
 order by round_num desc limit 1;

-- name: count_rounds
-- How many rounds of each federation are completed.
select federation_id::text, count(*) from tl.fl_round
 where tenant_id = tl.tenant() and status = 'completed' group by federation_id;

-- name: add_rollup
-- Keep the figures of a round.
insert into tl.metrics_rollup (tenant_id, federation_id, round_id, aggregates_json, created_at)
values (tl.tenant(), %(federation_id)s, %(round_id)s, %(aggregates)s, %(at)s) on conflict do nothing;

-- name: rollups
-- Figures of a federation's rounds, oldest first.
select id::text, federation_id::text, round_id::text, aggregates_json, created_at from tl.metrics_rollup
 where tenant_id = tl.tenant() and federation_id = %(federation_id)s order by created_at, id limit %(limit)s;

-- name: issue_lease
-- Let a client work for an attempt at a federation.
insert into tl.client_lease (tenant_id, federation_id, attempt, client_id, lease_expires_at, epochs_max, tokens_max,
                             status, created_at)
values (tl.tenant(), %(federation_id)s, %(attempt)s, %(client_id)s, %(expires_at)s, %(epochs_max)s, %(tokens_max)s,
        'issued', %(at)s)
returning id::text;

-- name: settle_lease
-- Say what became of a lease.
update tl.client_lease set status = %(status)s where tenant_id = tl.tenant() and id = %(id)s;

-- name: end_leases
-- End every lease that is still open.
update tl.client_lease set status = %(status)s
 where tenant_id = tl.tenant() and federation_id = %(federation_id)s and status in ('issued', 'claimed');

-- name: renew_leases
-- Let claimed leases last longer.
update tl.client_lease set lease_expires_at = %(expires_at)s
 where tenant_id = tl.tenant() and federation_id = %(federation_id)s and status = 'claimed';

-- name: leases
-- Leases of a federation, newest first.
select id::text, federation_id::text, client_id, manifest_uri, lease_expires_at, epochs_max, tokens_max, status, created_at
  from tl.client_lease where tenant_id = tl.tenant() and federation_id = %(federation_id)s
 order by created_at desc, client_id limit %(limit)s;
