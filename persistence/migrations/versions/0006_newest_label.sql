-- The address alone does not tell a late label: it may have changed and changed back since. So a
-- label is refused too when a later shipment of the order has one; the number of a shipment is
-- what its id ends with.
create or replace function check_label() returns trigger language plpgsql as $$
begin
    if not exists (select from orders o
                   where o.order_id = new.order_id and o.address = new.data -> 'address') then
        raise exception 'shipment % of order % has a label with an address that is not the order''s',
            new.data ->> 'shipment_id', new.order_id using errcode = 'OL005';
    end if;
    if exists (select from events e
               where e.order_id = new.order_id and e.type = new.type
                 and shipment_number(e.data) > shipment_number(new.data)) then
        raise exception 'shipment % of order % has its label after a later shipment had one',
            new.data ->> 'shipment_id', new.order_id using errcode = 'OL005';
    end if;
    return new;
end $$;

create function shipment_number(p_data jsonb) returns numeric language sql immutable as $$
    select substring(p_data ->> 'shipment_id' from '[0-9]+$')::numeric
$$;
