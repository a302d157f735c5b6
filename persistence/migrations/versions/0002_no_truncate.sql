-- Orders and payments stay: emptying their tables in one go is refused as well.
create trigger orders_not_truncated before truncate on orders
    for each statement execute function refuse_change();
create trigger payments_not_truncated before truncate on payments
    for each statement execute function refuse_change();
