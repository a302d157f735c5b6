-- A parcel whose packing was given up for another address may be packed all the same, later.
-- Without this its label would be the last one on record, and its shipment the order's: the one
-- that is asked for when it is unclear whether the carrier has a parcel.
-- OL005: a label with an address that is not the order's.
create function check_label() returns trigger language plpgsql as $$
begin
    if not exists (select from orders o
                   where o.order_id = new.order_id and o.address = new.data -> 'address') then
        raise exception 'shipment % of order % has a label with an address that is not the order''s',
            new.data ->> 'shipment_id', new.order_id using errcode = 'OL005';
    end if;
    return new;
end $$;

create trigger events_label before insert on events
    for each row when (new.type = 'order.shipment_prepared') execute function check_label();
