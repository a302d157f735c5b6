-- A transaction with a NOTIFY holds a lock of the whole server from before its commit until after
-- the flush of the log, so that commits stood in line one behind the other. The relay is now woken
-- by a transaction of its own, which has nothing to flush; died in between, it finds the event at
-- its next look.
create or replace function record_change(
    p_order_id text, p_key text, p_type text, p_data json, p_command_id text,
    p_traceparent text, p_payment_status text
) returns table (type text, sequence bigint, state text, at timestamptz, repeated boolean)
language plpgsql as $$
#variable_conflict use_column
declare
    earlier events;
    last_sequence bigint;
    last_at timestamptz;
    new_sequence bigint;
    new_at timestamptz;
    new_state text;
begin
    perform lock_order(p_order_id);

    select * into earlier from events e
        where e.order_id = p_order_id and e.command_id = p_command_id;
    if not found then
        select * into earlier from events e where e.order_id = p_order_id and e.key = p_key;
        if found and p_type = 'order.received'
                and earlier.command_id is distinct from p_command_id then
            raise exception 'order % has been started by command %',
                p_order_id, coalesce(earlier.command_id, '(none)') using errcode = 'OL002';
        end if;
    end if;
    if earlier.order_id is not null then
        return query select earlier.type, earlier.sequence, earlier.state, earlier.at, true;
        return;
    end if;

    select e.sequence, e.at into last_sequence, last_at from events e
        where e.order_id = p_order_id order by e.sequence desc limit 1;
    new_sequence := coalesce(last_sequence, 0) + 1;
    new_at := greatest(clock_timestamp(), last_at);
    new_state := apply_event(p_order_id, p_type, p_data::jsonb, new_sequence, new_at);

    insert into events (order_id, sequence, type, command_id, data, at, key, state)
    values (p_order_id, new_sequence, p_type, p_command_id, p_data::jsonb, new_at, p_key,
            new_state);

    insert into outbox (aggregateid, type, payload, sequence, at, traceparent)
    values (p_order_id, p_type, (
        '{"type":' || to_json(p_type)
        || ',"order_id":' || to_json(p_order_id)
        || ',"sequence":' || new_sequence
        || ',"at":"' || to_char(new_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || '","state":' || coalesce(to_json(new_state)::text, 'null')
        || coalesce(',"command_id":' || to_json(p_command_id), '')
        || ',"data":' || p_data || '}')::json,
        new_sequence, new_at, p_traceparent);

    if p_payment_status is not null then
        update payments p set status = p_payment_status, updated_at = new_at
            where p.order_id = p_order_id;
        if not found then
            raise exception 'order % has no payment that could become %',
                p_order_id, p_payment_status using errcode = 'OL004';
        end if;
    end if;

    return query select p_type, new_sequence, new_state, new_at, false;
end $$;

-- The write and the wake-up in one round trip; cannot be called inside a transaction.
create procedure record_change_and_wake(
    p_order_id text, p_key text, p_type text, p_data json, p_command_id text,
    p_traceparent text, p_payment_status text,
    out type text, out sequence bigint, out state text, out at timestamptz, out repeated boolean
) language plpgsql as $$
begin
    select r.type, r.sequence, r.state, r.at, r.repeated into type, sequence, state, at, repeated
        from record_change(p_order_id, p_key, p_type, p_data, p_command_id, p_traceparent,
                           p_payment_status) r;
    commit;
    if not repeated then
        perform pg_notify('outbox', (hashtextextended(p_order_id, 0) & 3)::text);
    end if;
end $$;
