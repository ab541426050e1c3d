-- One transaction of the load, for pgbench: a user and four payments; one in five also settles the
-- last payment that the same client made in its transaction before (none in its first).
\set settle random(1, 5)
\set amount random(100, 1000000)
begin;
insert into users (name, email) values ('Katharina Weber', gen_random_uuid() || '@example.org') returning id as user_id \gset
insert into payments (user_id, amount, currency, description) values (:user_id, :amount * 0.01, 'EUR', 'invoice 2026-0417, first instalment');
insert into payments (user_id, amount, currency, description) values (:user_id, :amount * 0.02, 'EUR', 'invoice 2026-0417, second instalment');
insert into payments (user_id, amount, currency, description) values (:user_id, :amount * 0.03, 'USD', 'subscription, one month in advance');
\if :settle = 1
update payments set status = 'settled', updated_at = clock_timestamp() where id = :payment_id;
\endif
insert into payments (user_id, amount, currency, description) values (:user_id, :amount * 0.04, 'GBP', 'refund of a deposit') returning id as payment_id \gset
commit;
