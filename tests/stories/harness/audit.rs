//! An audit of every write to the target's tables.

use super::count;
use postgres::Client;

/// Counts every write to the target's tables, so that a second application cannot hide behind an
/// upsert that changes nothing.
pub(crate) fn audit_writes(target: &mut Client) {
    target
        .batch_execute(
            "create table audit (at bigserial, relation text, operation text, id uuid, row_text text);
             create function audit_write() returns trigger language plpgsql set search_path = public as $$
             begin
                 insert into audit (relation, operation, id, row_text)
                 values (tg_table_name, tg_op, coalesce(new.id, old.id), new::text);
                 return null;
             end $$;
             create trigger audit after insert or update or delete on users
                 for each row execute function audit_write();
             create trigger audit after insert or update or delete on payments
                 for each row execute function audit_write();
             alter table users enable always trigger audit;
             alter table payments enable always trigger audit;",
        )
        .unwrap();
}

/// From what [`audit_writes`] has noted of [`Demo::move_money`]: each source transaction changed two rows,
/// each of its own moment; one state applied twice would be audited twice.
pub(crate) fn assert_nothing_applied_twice(target: &mut Client) {
    let doubled = "select count(*) from (
                       select from audit group by relation, id, row_text having count(*) > 1) twice";
    assert_eq!(count(target, doubled), 0, "a state was applied twice");
    let backwards = "select count(*) from (
                         select (row_text::payments).updated_at
                                < lag((row_text::payments).updated_at) over (partition by id order by at) as back
                         from audit where relation = 'payments') steps
                     where back";
    assert_eq!(count(target, backwards), 0, "a row went back in time");
}
