//! Whose code the processor runs: writing to a table runs what its owner has put there.

use crate::harness::{assert_same, count, start_with_tables, wait_until_blocked};
use postgres::Client;

const OWNER: &str = "do $$begin create role target_owner; exception when duplicate_object then null; end$$;
    create schema guest authorization target_owner; set role target_owner;
    create sequence guest.ran;
    create function guest.act() returns void language plpgsql as $$begin
        -- What a sequence gives is not rolled back.
        if current_user <> 'target_owner' then perform nextval('guest.ran'); end if; end$$;
    create function guest.one() returns int language plpgsql immutable as $$begin perform guest.act(); return 1; end$$;
    create function guest.add_one(int, int) returns int language sql immutable as 'select $1 + $2 * guest.one()';
    create operator guest.### (leftarg = int, rightarg = int, function = guest.add_one);
    create function guest.fire() returns trigger language plpgsql as $$begin perform guest.act(); return new; end$$;
    create function guest.fire_as_owner() returns trigger language plpgsql security definer as $$begin return new; end$$;
    create domain guest.small as int check (value < 1000000 * guest.one());
    reset role; grant create on schema public to target_owner; alter table items owner to target_owner";

/// What the owner does, and what undoes it; by which the rows of the table are written as before.
const DOORS: [(&str, &str); 13] = [
    (
        "create trigger door before insert on items for each row execute function guest.fire(); alter table items enable always trigger door",
        "drop trigger door on items",
    ),
    (
        "create trigger door after insert on items for each row execute function guest.fire_as_owner(); alter table items enable replica trigger door",
        "drop trigger door on items",
    ),
    (
        "create trigger door before update on items for each row when (guest.one() = 1) execute function suppress_redundant_updates_trigger();
         alter table items enable always trigger door",
        "drop trigger door on items",
    ),
    ("alter table items add constraint door check (guest.one() = 1)", "alter table items drop constraint door"),
    (
        "alter table items add constraint door check (n operator(guest.###) 1 > 0)",
        "alter table items drop constraint door",
    ),
    ("alter table items add constraint door exclude ((n + guest.one()) with =)", "alter table items drop constraint door"),
    ("create index door on items ((guest.one() + n))", "drop index door"),
    ("create index door on items (n) where n > guest.one()", "drop index door"),
    ("create statistics door on (guest.one() + n), v from items", "drop statistics door"),
    ("alter table items add column own int default guest.one()", "alter table items drop column own"),
    (
        "alter table items add column own int generated always as (n + guest.one()) stored",
        "alter table items drop column own",
    ),
    ("alter table items alter column n type guest.small", "alter table items alter column n type int"),
    (
        "alter table items alter column a type guest.small[] using a::guest.small[]",
        "alter table items alter column a type int[] using a::int[]",
    ),
];

#[test]
fn code_of_a_tables_owner_does_not_run_with_the_rights_of_the_processor() {
    let replication = start_with_tables(
        "target_owner",
        "create table items (id int primary key, n int, v text, a int[])",
        &["items"],
    );
    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute(OWNER).unwrap();
    for (number, (door, undo)) in (0_i32..).zip(DOORS) {
        let name = door.split(" items").next().unwrap();
        target.batch_execute(&format!("set role target_owner; {door}; reset role")).unwrap();
        let insert = format!(
            "insert into items values ({number}, {number}, 'v', '{{1}}'); update items set v = v || 'w'"
        );
        source.batch_execute(&insert).unwrap();
        let refused = wait_until_blocked(&mut target);
        assert!(
            refused.contains("a function of target_owner, with the rights of postgres"),
            "{name}: {refused}"
        );
        assert_eq!(ran(&mut target), 0, "{name}");
        // An administrator who answers for the code, as the message says; only then does it run.
        let routine = answer_for(&mut target, &refused);
        replication.wait_until_caught_up();
        assert_eq!(assert_same(&replication, &["items"]), [usize::try_from(number).unwrap() + 1], "{name}");
        target
            .batch_execute(&format!(
                "set role target_owner; {undo}; reset role; alter routine {routine} owner to target_owner; alter sequence guest.ran restart"
            ))
            .unwrap();
    }
    source.batch_execute("update items set v = 'last'").unwrap();
    replication.wait_until_caught_up();
    assert_eq!(ran(&mut target), 0);
    target.batch_execute("select replication.accept('items', 'target_owner')").unwrap();
    target
        .batch_execute(
            "drop schema guest cascade; drop table items; drop owned by target_owner; drop role target_owner",
        )
        .unwrap();
}

/// How often the owner's code ran as somebody else.
fn ran(target: &mut Client) -> i64 {
    count(target, "select case when is_called then last_value else 0 end from guest.ran")
}

/// Runs what the message says, for each function that is in the way. Returns one of them.
fn answer_for(target: &mut Client, refused: &str) -> String {
    let (_, remedy) = refused.split_once("run: ").unwrap();
    let (routine, _) =
        remedy.strip_prefix("ALTER ROUTINE ").unwrap().split_once(" OWNER TO postgres;").unwrap();
    target.batch_execute(remedy).unwrap();
    target.batch_execute("select replication.retry_hold()").unwrap();
    routine.to_owned()
}
