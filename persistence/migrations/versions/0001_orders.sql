-- Orders, their events, payments and the outbox, and the one function that writes them.
--
-- Errors raised here carry an SQLSTATE of class OL, which persistence/errors.py reads:
--   OL001 a move that is not allowed   (detail: the state now, hint: where it should have gone)
--   OL002 the order has been started by another command
--   OL003 a row that stands for ever was to be changed or removed
--   OL004 a payment that contradicts the one that stands

-- What may follow what: domain/states.py and domain/events.py in the database's words.
-- from_state '' stands for an order that does not exist yet.
create table order_moves (
    from_state text not null,
    to_state   text not null,
    primary key (from_state, to_state)
);
insert into order_moves (from_state, to_state) values
    ('', 'received'),
    ('received', 'validated'), ('received', 'rejected'),
    ('received', 'cancelled'), ('received', 'failed'),
    ('validated', 'in_review'), ('validated', 'charged'), ('validated', 'rejected'),
    ('validated', 'cancelled'), ('validated', 'failed'),
    ('in_review', 'approved'), ('in_review', 'rejected'),
    ('in_review', 'cancelled'), ('in_review', 'failed'),
    ('approved', 'charged'), ('approved', 'rejected'),
    ('approved', 'cancelled'), ('approved', 'failed'),
    ('charged', 'shipment_prepared'), ('charged', 'dispatch_failed'), ('charged', 'refunded'),
    ('shipment_prepared', 'shipment_prepared'), ('shipment_prepared', 'dispatched'),
    ('shipment_prepared', 'dispatch_failed'), ('shipment_prepared', 'refunded'),
    ('dispatch_failed', 'shipment_prepared'), ('dispatch_failed', 'dispatch_failed'),
    ('dispatch_failed', 'refunded'),
    ('dispatched', 'shipped'),
    ('refunded', 'cancelled'), ('refunded', 'failed');

create table event_types (
    type     text primary key,
    leads_to text               -- the state after such an event; null: unchanged
);
insert into event_types (type, leads_to) values
    ('order.received', 'received'),
    ('order.validated', 'validated'),
    ('order.review_requested', 'in_review'),
    ('order.approved', 'approved'),
    ('order.payment_charged', 'charged'),
    ('order.payment_refunded', 'refunded'),
    ('order.address_updated', null),
    ('order.shipment_prepared', 'shipment_prepared'),
    ('order.dispatched', 'dispatched'),
    ('order.dispatch_failed', 'dispatch_failed'),
    ('order.shipped', 'shipped'),
    ('order.rejected', 'rejected'),
    ('order.cancelled', 'cancelled'),
    ('order.failed', 'failed'),
    ('order.command_rejected', null);

create table payment_moves (
    from_status text not null,
    to_status   text not null,
    primary key (from_status, to_status)
);
insert into payment_moves (from_status, to_status) values
    ('', 'charging'),
    ('charging', 'charged'), ('charging', 'declined'), ('charging', 'void'),
    ('charged', 'refunding'),
    ('refunding', 'refunded'),
    ('void', 'charged');

-- The fold of an order's events.
create table orders (
    order_id        text primary key check (order_id ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$'),
    state           text not null check (state in (
                        'received', 'validated', 'in_review', 'approved', 'charged',
                        'shipment_prepared', 'dispatch_failed', 'dispatched', 'refunded',
                        'shipped', 'rejected', 'cancelled', 'failed')),
    address         jsonb not null check (jsonb_typeof(address) = 'object'),
    items           jsonb check (jsonb_typeof(items) = 'array'),
    amount          bigint check (amount >= 0),
    currency        text check (currency ~ '^[A-Z]{3}$'),
    reason          text,                       -- why it made its last move, where one was given
    deadline        timestamptz not null,
    decide_by       timestamptz,                -- while a person is asked
    payment_id      text,
    shipment_id     text,
    tracking_number text,
    sequence        bigint not null check (sequence >= 1),
    received_at     timestamptz not null,
    updated_at      timestamptz not null,
    check ((amount is null) = (currency is null)),
    check ((state = 'in_review') = (decide_by is not null))
);
create index orders_by_state on orders (state, order_id);
create index orders_open on orders (coalesce(decide_by, deadline))
    where state not in ('shipped', 'rejected', 'cancelled', 'failed');

-- The audit trail: append-only, numbered from 1 per order id whether or not an order exists.
create table events (
    order_id   text not null check (order_id ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$'),
    sequence   bigint not null check (sequence >= 1),
    type       text not null check (type in (
                   'order.received', 'order.validated', 'order.review_requested',
                   'order.approved', 'order.payment_charged', 'order.payment_refunded',
                   'order.address_updated', 'order.shipment_prepared', 'order.dispatched',
                   'order.dispatch_failed', 'order.shipped', 'order.rejected',
                   'order.cancelled', 'order.failed', 'order.command_rejected')),
    command_id text,
    data       jsonb not null check (jsonb_typeof(data) = 'object'),
    at         timestamptz not null,
    key        text not null,                   -- idempotency key of the write
    state      text,                            -- the order's state after this event
    primary key (order_id, sequence),
    unique (order_id, key)
);
create unique index events_by_command on events (command_id, order_id)
    where command_id is not null;

create table payments (
    payment_id text primary key check (payment_id <> ''),
    order_id   text not null unique references orders,      -- at most one payment per order
    status     text not null check (status in (
                   'charging', 'charged', 'declined', 'refunding', 'refunded', 'void')),
    amount     bigint not null check (amount >= 0),
    currency   text not null check (currency ~ '^[A-Z]{3}$'),
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp()
);
create index payments_unsettled on payments (updated_at)
    where status in ('charging', 'refunding');

-- Shaped as Debezium's outbox event router reads it. The payload is json, not jsonb, because
-- the order of its fields is kept that way: a reader of the topic sees "type" first.
create table outbox (
    id            bigint generated always as identity,
    aggregatetype text not null default 'order',
    aggregateid   text not null,
    type          text not null,
    payload       json not null,
    sequence      bigint not null,
    at            timestamptz not null,
    traceparent   text,
    shard         smallint not null generated always as
                      ((hashtextextended(aggregateid, 0) & 3)::smallint) stored,
    primary key (shard, id)
)
-- Every row is deleted within moments: vacuum by count, early and without pauses.
with (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 20000,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0
);

-- What the relay could never send, and what stands behind it in its order.
create table outbox_set_aside (
    id            bigint primary key,
    aggregatetype text not null,
    aggregateid   text not null,
    type          text not null,
    payload       json not null,
    sequence      bigint not null,
    at            timestamptz not null,
    traceparent   text,
    reason        text not null,
    set_aside_at  timestamptz not null default clock_timestamp()
);
create index outbox_set_aside_by_order on outbox_set_aside (aggregateid);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'rows of % are never changed or removed', tg_table_name
        using errcode = 'OL003';
end $$;

create trigger events_append_only before update or delete on events
    for each row execute function refuse_change();
create trigger events_not_truncated before truncate on events
    for each statement execute function refuse_change();
create trigger orders_stay before delete on orders
    for each row execute function refuse_change();
create trigger payments_stay before delete on payments
    for each row execute function refuse_change();

create function check_order_move() returns trigger language plpgsql as $$
declare
    before_state text := case when tg_op = 'INSERT' then '' else old.state end;
begin
    if not exists (select from order_moves
                   where from_state = before_state and to_state = new.state) then
        raise exception 'order % is % and may not become %',
            new.order_id, coalesce(nullif(before_state, ''), 'unknown'), new.state
            using errcode = 'OL001', detail = before_state, hint = new.state;
    end if;
    return new;
end $$;

create trigger orders_enter before insert on orders
    for each row execute function check_order_move();
create trigger orders_move before update on orders
    for each row when (old.state is distinct from new.state)
    execute function check_order_move();

create function check_payment_move() returns trigger language plpgsql as $$
declare
    before_status text := case when tg_op = 'INSERT' then '' else old.status end;
begin
    if tg_op = 'UPDATE' and (new.payment_id, new.order_id, new.amount, new.currency)
            is distinct from (old.payment_id, old.order_id, old.amount, old.currency) then
        raise exception 'payment % is for order %, % %; that never changes',
            old.payment_id, old.order_id, old.amount, old.currency using errcode = 'OL003';
    end if;
    if before_status <> new.status
       and not exists (select from payment_moves
                       where from_status = before_status and to_status = new.status) then
        raise exception 'payment % is % and may not become %',
            new.payment_id, coalesce(nullif(before_status, ''), 'unknown'), new.status
            using errcode = 'OL004';
    end if;
    return new;
end $$;

create trigger payments_move before insert or update on payments
    for each row execute function check_payment_move();

-- Every write about an order id takes this lock first. It is not the row's own lock because
-- events are numbered for ids without a row too. Sequence, outbox id and commit then come in
-- the same order for each order id, which is what lets the relay read by id.
create function lock_order(p_order_id text) returns void language sql as $$
    select pg_advisory_xact_lock(hashtextextended(p_order_id, 0));
$$;

-- Fold one event into the order's row and return the state after it (null: there is no order).
create function apply_event(
    p_order_id text, p_type text, p_data jsonb, p_sequence bigint, p_at timestamptz
) returns text language plpgsql as $$
declare
    target text;
    now_state text;
begin
    select leads_to into target from event_types where type = p_type;
    select o.state into now_state from orders o where o.order_id = p_order_id;

    if p_type = 'order.received' and now_state is null then
        insert into orders (order_id, state, address, deadline, sequence, received_at, updated_at)
        values (p_order_id, target, p_data -> 'address', (p_data ->> 'deadline')::timestamptz,
                p_sequence, p_at, p_at);
        return target;
    end if;

    if target is not null and not exists (
            select from order_moves
            where from_state = coalesce(now_state, '') and to_state = target)
       or p_type = 'order.address_updated'
            and (now_state is null
                 or now_state in ('dispatched', 'shipped', 'rejected', 'cancelled', 'failed')) then
        raise exception 'order % is % and may not become %', p_order_id,
            coalesce(now_state, 'unknown'), coalesce(target, p_type)
            using errcode = 'OL001', detail = coalesce(now_state, ''),
                  hint = coalesce(target, p_type);
    end if;
    if now_state is null then
        return null;
    end if;

    update orders o set
        state = coalesce(target, o.state),
        address = case when p_type = 'order.address_updated'
                       then p_data -> 'address' else o.address end,
        items = coalesce(p_data -> 'items', o.items),
        amount = case when p_type = 'order.validated'
                      then (p_data ->> 'amount')::bigint else o.amount end,
        currency = case when p_type = 'order.validated'
                        then p_data ->> 'currency' else o.currency end,
        reason = case when target is null then o.reason else p_data ->> 'reason' end,
        deadline = coalesce((p_data ->> 'deadline')::timestamptz, o.deadline),
        decide_by = case when target is null then o.decide_by
                         else (p_data ->> 'decide_by')::timestamptz end,
        payment_id = coalesce(p_data ->> 'payment_id', o.payment_id),
        shipment_id = coalesce(p_data ->> 'shipment_id', o.shipment_id),
        tracking_number = coalesce(p_data ->> 'tracking_number', o.tracking_number),
        sequence = p_sequence,
        updated_at = p_at
    where o.order_id = p_order_id;
    return coalesce(target, now_state);
end $$;

-- The write transaction: one call, one round trip. See persistence/write.py.
create function record_change(
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

    perform pg_notify('outbox', (hashtextextended(p_order_id, 0) & 3)::text);
    return query select p_type, new_sequence, new_state, new_at, false;
end $$;

-- Write down that a card is about to be charged; a repetition returns what stands.
create function intend_charge(
    p_payment_id text, p_order_id text, p_amount bigint, p_currency text
) returns text language plpgsql as $$
declare
    standing payments;
begin
    perform lock_order(p_order_id);
    insert into payments (payment_id, order_id, status, amount, currency)
        values (p_payment_id, p_order_id, 'charging', p_amount, p_currency)
        on conflict do nothing;
    select * into standing from payments p
        where p.payment_id = p_payment_id or p.order_id = p_order_id;
    if (standing.payment_id, standing.order_id, standing.amount, standing.currency)
            is distinct from (p_payment_id, p_order_id, p_amount, p_currency) then
        raise exception 'payment % over % % of order % stands against payment % over % % of order %',
            standing.payment_id, standing.amount, standing.currency, standing.order_id,
            p_payment_id, p_amount, p_currency, p_order_id using errcode = 'OL004';
    end if;
    return standing.status;
end $$;

-- Move a payment on; one that stands there already, or beyond, stays. Null: no such payment.
create function move_payment(p_payment_id text, p_status text) returns text
language plpgsql as $$
declare
    of_order text;
    now_status text;
begin
    select order_id into of_order from payments where payment_id = p_payment_id;
    if not found then
        return null;
    end if;
    perform lock_order(of_order);
    select status into now_status from payments where payment_id = p_payment_id;
    if now_status = p_status or (p_status = 'refunding' and now_status = 'refunded') then
        return now_status;
    end if;
    update payments set status = p_status, updated_at = clock_timestamp()
        where payment_id = p_payment_id;
    return p_status;
end $$;

-- Put an order's events back that were set aside, once what hindered them has been mended.
create function release_set_aside(p_order_id text) returns bigint language plpgsql as $$
declare
    released bigint;
begin
    perform lock_order(p_order_id);
    with back as (
        delete from outbox_set_aside where aggregateid = p_order_id returning *
    )
    insert into outbox (id, aggregatetype, aggregateid, type, payload, sequence, at, traceparent)
    overriding system value
    select id, aggregatetype, aggregateid, type, payload, sequence, at, traceparent
        from back order by id;
    get diagnostics released = row_count;
    perform pg_notify('outbox', (hashtextextended(p_order_id, 0) & 3)::text);
    return released;
end $$;
