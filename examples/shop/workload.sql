-- One customer orders, pays, and now and then sends back or changes their mind; for pgbench.
\set customer random(1, 1000)
\set one random(1, 150)
\set other random(151, 300)
\set what random(1, 20)
begin;
with placed as (insert into shop."order" (customer_id) values (:customer) returning id)
insert into shop.order_line (order_id, line_no, sku, quantity, unit_price)
select placed.id, row_number() over (), p.sku, 1 + :what % 3, p.price
from placed, shop.product p where p.sku in ('SKU-' || :one, 'SKU-' || :other);
update shop.stock set quantity = quantity - 1 where warehouse_id = 1 and sku in ('SKU-' || :one, 'SKU-' || :other);
insert into shop.payment (order_id, amount, method)
select id, total, 'card' from shop."order" where customer_id = :customer and state = 'open' limit 1 on conflict do nothing;
update shop."order" set state = 'paid' where customer_id = :customer and state = 'open' and :what > 5;
delete from shop.order_line where :what = 1 and line_no = 2 and order_id in (select id from shop."order" where customer_id = :customer);
insert into shop.review values ('SKU-' || :one, :customer, 1 + :what % 5, 'said "' || :what || '"')
on conflict (sku, customer_id) do update set stars = excluded.stars, text = excluded.text;
delete from shop.review where :what = 2 and customer_id = :customer;
commit;
