-- No event without the one before it, and no order under another name, whoever writes.
create function check_event_follows() returns trigger language plpgsql as $$
begin
    if new.sequence > 1 and not exists (
            select from events e
            where e.order_id = new.order_id and e.sequence = new.sequence - 1) then
        raise exception 'event % of % has no event before it', new.sequence, new.order_id
            using errcode = 'OL003';
    end if;
    return new;
end $$;
create trigger events_follow before insert on events
    for each row execute function check_event_follows();

create function refuse_new_name() returns trigger language plpgsql as $$
begin
    raise exception 'order % keeps its id', old.order_id using errcode = 'OL003';
end $$;
create trigger orders_keep_their_id before update on orders
    for each row when (old.order_id is distinct from new.order_id)
    execute function refuse_new_name();
