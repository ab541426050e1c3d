//! Each state is told in words, shapes, the title and the icon, and what is not known is unknown.

use super::browser::Browser;
use super::fixtures::{
    Known, catching_up, cut_off, falling_behind, healthy, held, paused, quiet, silent, stalled, unknown,
};
use super::server::{Answer, Server};
use serde_json::{Value, json};

type Case = (&'static str, fn() -> Known, &'static str, &'static str, &'static str, &'static str);

/// Name, state, word, shape, a part of the sentence, title.
const CASES: &[Case] = &[
    (
        "healthy",
        healthy,
        "FOLLOWING",
        "circle",
        "B shows A as of 14:03:08.191 UTC (0.009 s ago)",
        "● 0.009 s",
    ),
    ("quiet", quiet, "QUIET", "circle", "no changes in A since 13:12:44 UTC", "● 0.009 s"),
    ("catching-up", catching_up, "CATCHING UP", "up", "gains 3.1×, about 2 min left", "▲ 34 s"),
    (
        "falling-behind",
        falling_behind,
        "FALLING BEHIND",
        "down",
        "A writes 1,204 events/s, B applies 800",
        "▼ 34 s",
    ),
    ("paused", paused, "PAUSED", "bars", "since 14:00:00 UTC: index build on public.orders", "‖ PAUSED"),
    ("held", held, "HELD", "square", "B refuses the row (1f0c2b3e-77aa", "■ HELD"),
    (
        "stalled",
        stalled,
        "STALLED",
        "square",
        "48,000 events wait, and B has not moved for 27 s",
        "■ STALLED",
    ),
    ("silent", silent, "UNKNOWN", "question", "no word from B for 7 s, last heard 14:03:01 UTC", "? UNKNOWN"),
    ("unknown", unknown, "UNKNOWN", "question", "PostgreSQL A has not answered for 34 s", "? UNKNOWN"),
    ("cut-off", cut_off, "STALLED", "square", "outbox-publisher cannot reach PostgreSQL A", "■ STALLED"),
];

#[test]
fn every_state_is_told_in_word_and_shape_and_in_the_tab() {
    let server = Server::start(healthy().document());
    let mut browser = Browser::start("states", 1280, 900);
    browser.open(&server.url);
    for (name, known, word, shape, sentence, title) in CASES {
        server.show(known().document());
        browser.wait_for_text("#sentence", sentence);
        assert_eq!(browser.text("#word"), *word, "{name}");
        assert_eq!(browser.title(), *title, "{name}");
        let shown = browser.look("document.getElementById('shape').getAttribute('href')");
        assert_eq!(shown, json!(format!("#m-{shape}")), "{name}");
        let icon = browser.look("document.querySelector('link[rel=icon]').href");
        assert!(icon.as_str().unwrap().starts_with("data:image/svg+xml,"), "{name}: {icon}");
        if *name == "healthy" {
            assert_eq!(browser.text("#outbox"), "41 days");
        }
        let drawn =
            browser.look("[...document.querySelectorAll('#lag-chart path, #rate-chart path')].length");
        assert_eq!(drawn.as_u64() > Some(0), *name != "unknown", "{name}: {drawn} lines");
        for scheme in ["light", "dark"] {
            browser.prefer(scheme);
            browser.keep_picture(&format!("{name}-{scheme}"));
            if *name == "healthy" {
                browser.keep_picture_down_to(&format!("readme-{scheme}"), ".two");
            }
        }
    }
}

#[test]
fn the_edge_in_front_of_a_trouble_is_dashed_and_the_stage_says_what_it_is() {
    let server = Server::start(silent().document());
    let mut browser = Browser::start("edges", 1280, 900);
    browser.open(&server.url);
    browser.wait_for_text("#flow li:last-child", "last heard");
    let stages = "[...document.querySelectorAll('#flow li')].map(stage => [stage.innerText.replace(/\\s+/g, ' ').trim(), \
                  getComputedStyle(stage, '::before').borderTopStyle, stage.querySelector('use').getAttribute('href')])";
    let stages = browser.look(stages);
    let stage = |number: usize| &stages[number];
    assert_eq!(stages.as_array().unwrap().len(), 8);
    assert_eq!(*stage(1), json!(["outbox 12 wait", "solid", "#m-circle"]));
    assert_eq!(*stage(2), json!(["outbox-publisher leader", "solid", "#m-circle"]));
    for (number, name) in [(4, "NATS B"), (5, "inbox"), (6, "inbox-processor"), (7, "PostgreSQL B")] {
        assert_eq!(
            *stage(number),
            json!([format!("{name} last heard 14:03:01, 7 s ago"), "dashed", "#m-question"])
        );
    }
    server.show(cut_off().document());
    browser.wait_for_text("#flow li:first-child", "cannot be reached");
    assert!(browser.text("#needs").contains("connection refused"));
}

#[test]
fn what_is_held_says_table_key_error_and_what_to_run() {
    let server = Server::start(held().document());
    let mut browser = Browser::start("held", 1280, 900);
    browser.open(&server.url);
    let needs = browser.wait_for_text("#needs", "Needs you (1)");
    for part in [
        "B refuses a change",
        "public.orders",
        "(1f0c2b3e-77aa-4c09-9d3b-0b6f0c1d2e3f)",
        "column \"coupon\" of relation \"orders\" does not exist",
        "Run in B:",
        "14:02:31 UTC",
    ] {
        assert!(needs.contains(part), "{part}: {needs}");
    }
    browser.call(
        "Browser.grantPermissions",
        &json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}),
    );
    browser.look("document.querySelector('#needs button').click()");
    browser.wait_for_text("#needs button", "Copied");
    let copied = browser.look("navigator.clipboard.readText()");
    assert_eq!(copied, json!("alter table public.orders add column coupon text;"));
    server.show(healthy().document());
    browser.wait_for_text("#needs", "Needs you (0)");
}

const IS_GREY: &str = "getComputedStyle(document.getElementById('lag')).color === getComputedStyle(document.getElementById('foot')).color";

#[test]
fn numbers_that_are_old_are_grey_and_say_how_old_they_are() {
    let server = Server::start(healthy().document());
    let mut browser = Browser::start("misses", 1280, 900);
    browser.open(&server.url);
    browser.wait_for_text("#word", "FOLLOWING");
    assert_eq!(browser.text("#banner"), "");
    for (answer, name) in [(Answer::Refusal, "refused"), (Answer::Silence, "silence")] {
        server.answer(answer);
        let banner = browser.wait_for_text("#banner", "outbox-publisher does not answer");
        assert!(banner.contains("All numbers are of 14:03:08 UTC, "), "{banner}");
        assert_eq!(browser.text("#word"), "UNKNOWN");
        browser.wait_for_text("#sentence", "outbox-publisher has not answered for");
        assert_eq!(browser.look(IS_GREY), json!(true));
        assert!(browser.title().starts_with("? "), "{}", browser.title());
        browser.keep_picture(&format!("misses-{name}-light"));
        server.show(healthy().document());
        browser.wait_for_text("#word", "FOLLOWING");
        assert_eq!(browser.text("#banner"), "");
        assert_eq!(browser.look(IS_GREY), json!(false));
    }
}

#[test]
fn a_page_that_nobody_looks_at_asks_for_nothing() {
    let server = Server::start(healthy().document());
    let mut browser = Browser::start("hidden", 1280, 900);
    browser.open(&server.url);
    browser.wait_for_text("#word", "FOLLOWING");
    let hide = |hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }}); \
             document.dispatchEvent(new Event('visibilitychange'))"
        )
    };
    browser.look(&hide(true));
    assert_eq!(browser.title(), "● at 14:03:08 UTC");
    server.show(held().document());
    let asked = "performance.getEntriesByType('resource').filter(entry => entry.name.endsWith('/status.json')).length";
    // One may be under way.
    let before = browser.look(&format!("new Promise(done => setTimeout(() => done({asked}), 1500))"));
    let after = browser.look(&format!("new Promise(done => setTimeout(() => done({asked}), 2500))"));
    assert_eq!(before, after);
    assert_eq!(browser.text("#word"), "FOLLOWING");
    browser.look(&hide(false));
    browser.wait_for_text("#word", "HELD");
}

#[test]
fn what_comes_from_messages_is_text_and_never_markup() {
    let mut known = held();
    let markup = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>";
    known.b().held.as_mut().unwrap().error = markup.to_owned();
    let server = Server::start(known.document());
    let mut browser = Browser::start("markup", 1280, 900);
    browser.open(&server.url);
    let needs = browser.wait_for_text("#needs", "Needs you (1)");
    assert!(needs.contains(markup), "{needs}");
    assert_eq!(browser.look("document.querySelectorAll('#needs img, #needs script').length"), json!(0));
    let run = "new Promise(done => { const script = document.createElement('script'); script.textContent = 'window.taken = 1'; \
               document.body.append(script); setTimeout(() => done(window.taken ?? 0), 200); })";
    assert_eq!(browser.look(run), json!(0), "the policy allows a script that is not the page's");
    assert_eq!(browser.look("document.cookie"), Value::String(String::new()));
}
