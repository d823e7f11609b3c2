-- name: find_consumer
-- A consumer's last word.
select consumer_id, model, label, watch, state, sha256, seq, reason, first_seen, last_seen from tl.consumer
 where tenant_id = tl.tenant() and consumer_id = %(consumer_id)s;

-- name: put_consumer
-- Keep a consumer's last word.
insert into tl.consumer (tenant_id, consumer_id, model, label, watch, state, sha256, seq, reason, first_seen, last_seen)
values (tl.tenant(), %(consumer_id)s, %(model)s, %(label)s, %(watch)s, %(state)s, %(sha256)s, %(seq)s, %(reason)s,
        %(at)s, %(at)s)
on conflict (tenant_id, consumer_id) do update set
  model = excluded.model, label = excluded.label, watch = excluded.watch, state = excluded.state,
  sha256 = excluded.sha256, seq = excluded.seq, reason = excluded.reason, last_seen = excluded.last_seen;

-- name: add_adoption
-- Note that a consumer's state changed.
insert into tl.adoption (tenant_id, consumer_id, state, sha256, seq, reason, at)
values (tl.tenant(), %(consumer_id)s, %(state)s, %(sha256)s, %(seq)s, %(reason)s, %(at)s);

-- name: consumers
-- Every consumer, or those of one reference.
select consumer_id, model, label, watch, state, sha256, seq, reason, first_seen, last_seen from tl.consumer
 where tenant_id = tl.tenant()
   and (%(model)s::text is null or (model = %(model)s and label = %(label)s))
 order by model, label, consumer_id limit 1000;
