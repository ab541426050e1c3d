//! Every value arrives exactly as it was, whatever its type and whatever the settings of the sessions.

use crate::harness::{Replication, assert_same, attach, count, have_icu, make_in_both, wait_for};

/// A type zoo: a column for each type, and rows with the awkward values of each.
const TYPES: &str = r#"
    create extension hstore; create extension citext; create extension ltree;
    create schema "Odd ""Schema""";
    create type "Odd ""Schema""".mood as enum ('sad', 'so so', 'it''s "fine", really');
    create domain "Odd ""Schema""".percent as numeric(5, 2) check (value between 0 and 100);
    create type "Odd ""Schema""".point3 as (x int, y text, z "Odd ""Schema""".percent);
    create type "Odd ""Schema""".nested as (inner_part "Odd ""Schema""".point3, list int[]);
    create type "Odd ""Schema""".floatrange as range (subtype = float8, subtype_diff = float8mi);
    create table zoo (
        id int primary key,
        c_int2 int2, c_int8 int8, c_numeric numeric, c_scaled numeric(20, 7), c_float4 float4, c_float8 float8,
        c_text text, c_varchar varchar(40), c_char char(10), c_quoted "char", c_name name, c_bytea bytea, c_bool bool,
        c_date date, c_time time, c_timetz timetz, c_timestamp timestamp, c_timestamptz timestamptz, c_interval interval,
        c_uuid uuid, c_json json, c_jsonb jsonb, c_xml xml, c_inet inet, c_cidr cidr, c_macaddr macaddr, c_macaddr8 macaddr8,
        c_bit bit(5), c_varbit varbit, c_int4range int4range, c_numrange numrange, c_tstzrange tstzrange,
        c_multirange nummultirange, c_floatrange "Odd ""Schema""".floatrange, c_ints int[], c_texts text[], c_matrix numeric[][],
        c_stamps timestamptz[], c_mood "Odd ""Schema""".mood, c_moods "Odd ""Schema""".mood[],
        c_percent "Odd ""Schema""".percent, c_point3 "Odd ""Schema""".point3, c_nested "Odd ""Schema""".nested,
        c_nesteds "Odd ""Schema""".nested[], c_point point, c_line line, c_lseg lseg, c_box box, c_path path, c_polygon polygon,
        c_circle circle, c_tsvector tsvector, c_tsquery tsquery, c_hstore hstore, c_citext citext, c_ltree ltree,
        c_money money, c_lsn pg_lsn, c_oid oid, c_regclass regclass, c_snapshot pg_snapshot, c_jsonpath jsonpath
    );
"#;

const ANIMALS: &str = r#"
    insert into zoo (id) values (0);
    insert into zoo values (1, -32768, -9223372036854775808, 'NaN', 12345.6789, '-0', '4.9406564584124654e-324',
        E'quotes " '' backslash \\ \\N newline \n tab \t , ( ) { } NULL', '', 'ab', 'x', 'some name', '\x00ff5c27', true,
        'infinity', '24:00:00', '23:59:59.999999-15:59:59', '-infinity', 'infinity',
        '-1 year -2 mons +3 days -04:05:06.789', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
        '{"b" : 1, "a":null, "b": [ 1.50 ] }', '{"b": 1, "a": null, "n": 1.500}', '<a>x</a> y <b/>', '10.1.2.3/8', '10.0.0.0/8',
        '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', b'10101', b'1', '[1,10)', '(,1.50]', '[2024-01-01 12:00+05,infinity)',
        '{[1,2),(3,]}', '[1.1,2.2)', '[-2:0]={1,NULL,3}', '{"",NULL,"NULL","a,b","q\"q","b\\s"," "}', '{{1.0,2.00},{NaN,NULL}}',
        array[timestamptz '2024-06-01 12:00+02', null], 'it''s "fine", really', '{sad,"it''s \"fine\", really"}',
        99.90, row(1, 'a "b", (c)', 5), row(row(null, '', null), '{1,NULL}'), array[row(row(1, null, 0), '{}')::"Odd ""Schema""".nested],
        '(1.1,-0)', '{1,2,3}', '[(1,2),(3,4)]', '(3,4),(1,2)', '[(1,2),(3,4.5)]', '((1,2),(3,4),(5,0.1))', '<(1,2),3>',
        'a:1A fat:2B,4C ''it''''s'':5', 'fat & !rat:ab <-> cat', '"a" => "1", "b" => NULL, "c\"d" => ""', 'MiXed', 'Top.Science.Astronomy',
        (-1234.56)::numeric::money, '16/B374D848', 4294967295, 'pg_class', '10:20:10,14,15', '$.a[*] ? (@.b > 1.50)');
    insert into zoo (id, c_int2, c_int8, c_numeric, c_scaled, c_float4, c_float8, c_text, c_varchar, c_char, c_bytea, c_date, c_timestamp,
        c_timestamptz, c_interval, c_json, c_time, c_bool, c_money, c_xml, c_ints, c_numrange, c_texts) values
    (2, 32767, 9223372036854775807, 'Infinity', 0.0000001, 3.4028235e38, 1.7976931348623157e308, U&'\+01F600 \0301 \FEFF \200B', 'ÄÖ', '',
     '', '4713-01-01 BC', '4713-01-01 00:00:00 BC', '294276-12-31 23:59:59.999999+00', '178000000 years', ' null ', '00:00:00', false,
     92233720368547758.07::numeric::money, '', '{}', 'empty', '{}'),
    (3, 0, 0, '-Infinity', -1, 1.17549435e-38, 'NaN', ' leading and trailing ', ' ', ' x', '\x', '-infinity', '2024-02-29 23:59:60',
     '2024-03-10 02:30:00.000001-07', '-178000000 years', '"\u0041"', '12:34:56.000001', null, '0', '<?xml version="1.0"?><a/>',
     '{{{1},{2}}}', '[0.1,0.10]', '{{a,b},{"",c}}'),
    (4, 1, 1, 1.10, 1.1, 0.1, 0.1, '', 'NULL', 'null', '\x6e756c6c', '0001-01-01', '0001-01-01', '0001-01-01 00:00+00', '1 mon -1 day',
     '{}', '00:00:00.1', true, 1.005::numeric::money, 'text only', null, '(,)', null),
    (5, null, null, 1e400, null, 'Infinity', '-Infinity', repeat('long ', 20000), null, null, decode(repeat('00ff', 5000), 'hex'), null,
     null, null, '00:00:00', null, null, null, null, null, null, null, null),
    (6, null, null, 0.00000000000000000000000000000000000010, null, 1e-45, 2.2250738585072011e-308, null, null, null, null, null, null,
     '2024-10-27 01:30:00 Europe/Berlin', '1 day', '[1,
  2]', null, null, null, null, '[5:5]={7}', null, array[repeat('x', 3000)]);
"#;

/// What a database's or a role's defaults may be, and what would spoil a value where it counted.
const HOSTILE: [&str; 16] = [
    "datestyle = 'German, DMY'",
    "intervalstyle = 'sql_standard'",
    "extra_float_digits = -15",
    "bytea_output = 'escape'",
    "timezone = 'Asia/Kathmandu'",
    "xmloption = 'document'",
    "xmlbinary = 'hex'",
    "array_nulls = off",
    "standard_conforming_strings = off",
    "backslash_quote = on",
    "quote_all_identifiers = on",
    "default_transaction_isolation = 'serializable'",
    "lock_timeout = '5s'",
    "escape_string_warning = off",
    "transform_null_equals = on",
    "row_security = off",
];

/// The same, of settings that not every version has.
const HOSTILE_WHERE_KNOWN: [(&str, &str); 1] = [("transaction_timeout", "5s")];

/// How money is written on each side: -1234.56 is '-1.234,56 €' in Germany and '-￥1,235' in Japan, which
/// knows no hundredths. What is read by another locale than it was written by is refused, or another amount.
const MONEY: [(&str, &str); 2] = [("source", "ja_JP.UTF-8"), ("target", "de_DE.UTF-8")];

/// The databases' own ways to write money.
fn localize_money(replication: &Replication) {
    for ((side, locale), mut client) in MONEY.iter().zip([replication.source(), replication.target()]) {
        let name = replication.name();
        client
            .batch_execute(&format!("alter database {name}_{side} set lc_monetary = '{locale}'"))
            .unwrap_or_else(|error| {
                panic!("scripts/install-locales.sh makes the locales of the tests: {error:?}")
            });
    }
    for mut client in [replication.source(), replication.target()] {
        let plain = "select count(*) where (-1234.56)::numeric::money::text = '-$1,234.56'";
        assert_eq!(count(&mut client, plain), 0, "the database writes money in its own way");
    }
}

fn make_hostile(replication: &Replication) {
    localize_money(replication);
    for (mut client, side) in [(replication.source(), "source"), (replication.target(), "target")] {
        for setting in HOSTILE {
            client
                .batch_execute(&format!("alter database {}_{side} set {setting}", replication.name()))
                .unwrap();
        }
        for (setting, value) in HOSTILE_WHERE_KNOWN {
            let known = format!("select count(*) from pg_settings where name = '{setting}'");
            if count(&mut client, &known) == 1 {
                client
                    .batch_execute(&format!(
                        "alter database {}_{side} set {setting} = '{value}'",
                        replication.name()
                    ))
                    .unwrap();
            }
        }
        // Functions, operators and types of the same names, found first.
        client
            .batch_execute(&format!(
                "create schema hostile;
                 create function hostile.unnest(anyarray) returns setof int language sql as 'select 1 where false';
                 create function hostile.pg_notify(text, text) returns void language sql as 'select 1/0';
                 create function hostile.clock_timestamp() returns timestamptz language sql as 'select null::timestamptz';
                 create function hostile.lie(int, int) returns bool language sql as 'select false';
                 create operator hostile.= (leftarg = int, rightarg = int, function = hostile.lie);
                 create table hostile.zoo (id int);
                 create domain hostile.int4 as text;
                 alter database {}_{side} set search_path = hostile, public, pg_catalog",
                replication.name()
            ))
            .unwrap();
    }
}

fn show_the_zoo(replication: &Replication) {
    let mut source = replication.source();
    // The values as they are meant, then changed under whatever settings the session has.
    source
        .batch_execute(
            "set standard_conforming_strings = on; set xmloption = 'content'; set array_nulls = on",
        )
        .unwrap();
    source
        .batch_execute("set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres'; set search_path = public")
        .unwrap();
    source.batch_execute(ANIMALS).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(replication, &["public.zoo"]), [7]);
    let mut source = replication.source();
    source
        .batch_execute(
            "update public.zoo set c_int8 = null where id operator(pg_catalog.=) 0;
             update public.zoo set id = id operator(pg_catalog.+) 100 where id operator(pg_catalog.<>) 3;
             delete from public.zoo where id operator(pg_catalog.=) 104;
             insert into public.zoo (id, c_timestamptz, c_interval, c_float8, c_bytea)
             values (200, now(), now() operator(pg_catalog.-) '2001-01-01', 1 operator(pg_catalog./) 3.0::float8, '\\x01fe')",
        )
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(replication, &["public.zoo"]), [7]);
    assert_eq!(count(&mut replication.target(), "select count(*) from replication.quarantine"), 0);
}

#[test]
fn every_value_arrives_exactly_as_it_was() {
    let replication = Replication::start("zoo");
    make_in_both(&replication, TYPES);
    attach(&replication, &["public.zoo"]);
    show_the_zoo(&replication);
}

#[test]
fn every_value_arrives_exactly_as_it_was_under_hostile_settings() {
    let mut replication = Replication::prepare("zoo_hostile", &[]);
    make_in_both(&replication, TYPES);
    attach(&replication, &["public.zoo"]);
    make_hostile(&replication);
    replication.processor.start();
    replication.publisher.start();
    show_the_zoo(&replication);
}

#[test]
fn money_is_the_same_amount_however_the_sessions_write_it() {
    let mut replication = Replication::prepare("money", &[]);
    make_in_both(
        &replication,
        "create type offer as (price money, prices money[]);
         create table prices (k money primary key, n int, v money, list money[], offer offer)",
    );
    attach(&replication, &["prices"]);
    localize_money(&replication);
    replication.processor.start();
    replication.publisher.start();
    // The database's default, and what a session sets.
    for (number, session) in
        ["", "set lc_monetary = 'C'", "set lc_monetary = 'de_DE.UTF-8'"].iter().enumerate()
    {
        let mut source = replication.source();
        source.batch_execute(session).unwrap();
        source
            .batch_execute(&format!(
                "insert into prices select k, {number}, v, array[v, null, v * -1], row(v, array[k])::offer
                 from (select (i * 10 + {number} + 0.25)::numeric::money, (i * 1234.56)::numeric::money
                       from generate_series(-3, 30) i) as rows (k, v);
                 update prices set v = v * 1.5, k = k + 1000000::money where n = {number} and v < 0::money;
                 delete from prices where n = {number} and v > 30000::numeric::money"
            ))
            .unwrap();
        replication.wait_until_caught_up();
        assert_eq!(assert_same(&replication, &["prices"]), [28 * (number + 1)]);
    }
    count(&mut replication.source(), "select replication.resend('prices')");
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["prices"]), [28 * 3]);
}

#[test]
fn names_that_need_quotes_and_schemas_other_than_public() {
    let replication = Replication::start("odd_names");
    make_in_both(
        &replication,
        r#"create schema "My ""Schema"".x";
           create table "My ""Schema"".x"."Table, with 'all' of it" (
               "Key.1" int, "select" text, "Weiß ""q""" text, "ünïcödé 😀" int, primary key ("Key.1", "select"))"#,
    );
    attach(&replication, &[r#""My ""Schema"".x"."Table, with 'all' of it""#]);
    replication
        .source()
        .batch_execute(
            r#"insert into "My ""Schema"".x"."Table, with 'all' of it" values (1, 'a', 'x', 1), (1, 'b,"c"', null, 2), (2, '', '', 3);
               update "My ""Schema"".x"."Table, with 'all' of it" set "Weiß ""q""" = 'y' where "Key.1" = 1;
               delete from "My ""Schema"".x"."Table, with 'all' of it" where "select" = ''"#,
        )
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &[r#""My ""Schema"".x"."Table, with 'all' of it""#]), [2]);
}

#[test]
fn columns_in_another_order_dropped_generated_and_with_defaults() {
    let replication = Replication::start("columns");
    replication
        .source()
        .batch_execute(
            "create table items (gone1 int, id bigint generated always as identity primary key, price numeric(10, 2), gone2 text,
                                 quantity int default 5, total numeric generated always as (price * quantity) stored, label text,
                                 serial_no int generated by default as identity, always_no int generated always as identity);
             alter table items drop column gone1, drop column gone2",
        )
        .unwrap();
    replication
        .target()
        .batch_execute(
            "create table items (label text default 'WRONG', gone3 int, quantity int default 77, id bigint generated always as identity primary key,
                                 always_no int generated always as identity, total numeric generated always as (price * quantity) stored,
                                 own text default 'fires', price numeric(10, 2) default 1, serial_no int generated by default as identity (start 1000));
             alter table items drop column gone3",
        )
        .unwrap();
    attach(&replication, &["items"]);
    let mut source = replication.source();
    source.batch_execute("insert into items (price, label) values (1.5, 'a'), (2, null), (null, ''); update items set quantity = 3 where id = 2").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["items"]), [3]);
    source
        .batch_execute(
            "update items set price = 9, always_no = default where id = 1; delete from items where id = 3",
        )
        .unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_same(&replication, &["items"]), [2]);
    assert_eq!(count(&mut replication.target(), "select count(*) from items where own = 'fires'"), 2);
}

#[test]
fn keys_of_any_type_that_has_an_order() {
    let replication = Replication::start("key_types");
    let mut keys = vec![
        ("k_numeric", "numeric", "1.0", "1.00", "2.5"),
        ("k_float", "float8", "'-0'", "'0'", "1e-300"),
        ("k_citext", "citext", "'Key'", "'kEY'", "'other'"),
        ("k_interval", "interval", "'1 day'", "'24:00:00'", "'1 mon'"),
        ("k_char", "char(5)", "'ab'", "'ab   '", "'c'"),
        ("k_bpchar", "bpchar", "'ab'", "'ab   '", "'c'"),
        ("k_timestamptz", "timestamptz", "'2024-01-01 00:00+00'", "'2024-01-01 05:45+05:45'", "'infinity'"),
        ("k_text", "text", "'a \"b\", (c)'", "'a \"b\", (c)'", "''"),
        ("k_array", "numeric[]", "'{1.0,NULL}'", "'{1.00,NULL}'", "'{}'"),
        ("k_range", "numrange", "'[1.0,2]'", "'[1.00,2.0]'", "'empty'"),
        ("k_jsonb", "jsonb", "'{\"a\": 1.0}'", "'{\"a\": 1.00}'", "'null'"),
        ("k_bytea", "bytea", "'\\x00'", "'\\x00'", "'\\x'"),
        ("k_inet", "inet", "'10.0.0.1'", "'10.0.0.1/32'", "'::1'"),
    ];
    make_in_both(&replication, "create extension citext");
    if have_icu(&replication, "keys of text that is equal without being the same") {
        make_in_both(
            &replication,
            "create collation loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false)",
        );
        keys.push(("k_collated", "text collate loose", "'Straße'", "'STRASSE'", "'x'"));
    }
    let names: Vec<&str> = keys.iter().map(|(name, ..)| *name).collect();
    for (name, key_type, ..) in &keys {
        make_in_both(
            &replication,
            &format!("create table {name} (k {key_type}, n int, v text, primary key (k, n))"),
        );
    }
    attach(&replication, &names);
    let mut source = replication.source();
    // All of it in one tick, and each step in one of its own.
    for in_one_transaction in [true, false] {
        for (name, _, one, same, other) in &keys {
            let steps = [
                format!("delete from {name}"),
                format!(
                    "insert into {name} values ({one}, 1, 'first'), ({other}, 1, 'other'), ({other}, 2, 'more')"
                ),
                format!("update {name} set k = {same}, v = 'same key' where k = {one} and n = 1"),
                format!("update {name} set v = 'changed' where k = {same} and n = 1"),
                format!(
                    "insert into {name} values ({one}, 1, 'conflict') on conflict (k, n) do update set k = {one}, v = 'upserted'"
                ),
                format!("delete from {name} where k = {same} and n = 1"),
                format!("insert into {name} values ({same}, 1, 'born again')"),
                format!("update {name} set k = {one} where k = {same} and n = 1"),
                format!("update {name} set n = n + 10 where k = {other}"),
                format!("delete from {name} where k = {one}"),
            ];
            if in_one_transaction {
                source.batch_execute(&format!("begin; {}; commit", steps[..8].join("; "))).unwrap();
            } else {
                for step in &steps {
                    source.batch_execute(step).unwrap();
                }
            }
        }
        replication.wait_until_caught_up();
        let rows = if in_one_transaction { 3 } else { 2 };
        assert!(assert_same(&replication, &names).iter().all(|count| *count == rows));
    }
    let drift = "select deletes_missing + inserts_overwritten from replication.target_drift";
    assert_eq!(count(&mut replication.target(), drift), 0);
    wait_for("apply is not blocked", || {
        let held = "select count(*) from replication.target_status where held_error is not null";
        (count(&mut replication.target(), held) == 0).then_some(())
    });
}
