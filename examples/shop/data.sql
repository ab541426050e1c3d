-- What the shop holds before it is replicated.
set search_path = shop;
insert into country values ('NO', 'Norway'), ('IT', 'Italy'), ('JP', 'Japan'), ('CI', 'Côte d''Ivoire');
insert into customer (email, full_name, country_code, tags, preferences)
select 'customer' || i || '@example.org', 'Customer No. ' || i, (array['NO', 'IT', 'JP', 'CI'])[1 + i % 4],
       case when i % 7 = 0 then '{vip,"quoted \"tag\""}' else '{}' end::text[], jsonb_build_object('newsletter', i % 2 = 0)
from generate_series(1, 1000) i;
insert into address select id, 'home', 'Street ' || id, country_code from customer;
insert into category values (1, null, 'All'), (2, 1, 'Books'), (3, 1, 'Tools'), (4, 3, 'Hammers');
insert into product (sku, category_id, title, description, price, attributes)
select 'SKU-' || i, 2 + i % 3, 'Product ' || i, 'A fine thing, number ' || i, i % 90 + 0.95, jsonb_build_object('weight', i)
from generate_series(1, 300) i;
insert into price_period select sku, '[2026-01-01,)', price from product;
insert into warehouse values (1, 'North', '(59.9,10.7)'), (2, 'South', '(41.9,12.5)');
insert into stock select w.id, p.sku, 1000000 from warehouse w, product p;
