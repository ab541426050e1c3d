//! Two of a kind: one works, the other stands by and takes over.

use crate::harness::{Replication, assert_equal, wait_for};

#[test]
fn a_second_publisher_and_a_second_processor_stand_by_and_take_over() {
    let mut replication = Replication::start("standby");
    let mut source = replication.source();
    let (mut publisher, mut processor) = (replication.publisher.twin(), replication.processor.twin());
    for standby in [&mut publisher, &mut processor] {
        standby.start();
        wait_for("it stands by", || standby.log().contains("standing by to take over").then_some(()));
    }
    replication.publisher.kill();
    replication.processor.kill();
    source.execute("insert into users (name, email) values ('N', '1@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
    for leader in [&mut publisher, &mut processor] {
        assert_eq!(leader.stop().code(), Some(0));
    }
}
