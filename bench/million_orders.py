"""Fills a database with a million orders, as it looks after a few months of work.

    python -m bench.million_orders DB_URL [ORDERS]

Most orders are shipped, a few per thousand are on their way; each has its events and, where
charged, its payment. Rows are made inside PostgreSQL with triggers off (needs a superuser).
"""

import asyncio
import sys
from typing import Final

import asyncpg

ORDERS: Final = 1_000_000

_ADDRESS: Final = """'{"street": "1 Main St", "city": "A", "state": "CA", "zip": "1"}'::jsonb"""
_FILL: Final = """
set session_replication_role = replica;  -- no triggers: rows come in at their end state
create temporary table made as
    select i, 'M-' || lpad(i::text, 8, '0') as order_id,
           case when i % 1000 = 0 then 'received' when i % 1000 = 1 then 'in_review'
                when i % 1000 = 2 then 'charged' when i % 50 = 3 then 'cancelled'
                when i % 50 = 4 then 'rejected' when i % 100 = 5 then 'failed'
                else 'shipped' end as state,
           now() - make_interval(secs => ({orders} - i) * 8) as at
    from generate_series(1, {orders}) i;
insert into orders (order_id, state, address, items, amount, currency, deadline, decide_by,
                    sequence, received_at, updated_at)
    select order_id, state, {address},
           '[{{"sku": "cup", "quantity": 1, "unit_price": 450}}]', 450, 'USD',
           at + interval '15 s', case when state = 'in_review' then at + interval '1 h' end,
           2, at, at + interval '2 s'
    from made;
insert into events (order_id, sequence, type, command_id, data, at, key, state)
    select order_id, n, case n when 1 then 'order.received' else 'order.shipped' end,
           case n when 1 then 'c-' || i end,
           case n when 1 then json_build_object('deadline', at, 'address', {address})::jsonb
                  else '{{"tracking_number": "T"}}' end, at,
           case n when 1 then 'received' else 'shipped' end, state
    from made, generate_series(1, 2) n;
insert into payments (payment_id, order_id, status, amount, currency, created_at, updated_at)
    select order_id || ':charge', order_id,
           case when state = 'charged' then 'charging' else 'charged' end, 450, 'USD', at, at
    from made where state in ('charged', 'shipped');
drop table made;
set session_replication_role = origin;
"""


_SETTLE: Final = """
set session_replication_role = replica;
update orders set state = 'shipped', decide_by = null
    where state in ('received', 'in_review', 'charged');
set session_replication_role = origin;
"""


async def fill(db_url: str, orders: int = ORDERS, *, under_way: bool = True) -> None:
    """Add ``orders`` orders to a migrated, empty database, then vacuum and analyze it.

    Without ``under_way`` those few are shipped too, and a running service has nothing to do.
    """
    connection = await asyncpg.connect(db_url)
    try:
        await connection.execute(_FILL.format(orders=orders, address=_ADDRESS))
        if not under_way:
            await connection.execute(_SETTLE)
        for table in ("orders", "events", "payments"):
            await connection.execute(f"vacuum analyze {table}")
    finally:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(fill(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else ORDERS))
